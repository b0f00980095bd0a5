"""A PostgreSQL and its standby, of which either can be the primary."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
from yarl import URL

from deploy.account import server_account
from deploy.binaries import find_postgres
from deploy.postgres import PrivatePostgres
from tests.support.databases import with_host
from tests.support.private_servers import PASSWORD, kill, open_folder
from tests.support.waiting import until


class Pair:
    """``primary`` and ``standby`` change places by ``promote``."""

    def __init__(self, folders: tuple[str, str]) -> None:
        self.primary, self.standby = (PrivatePostgres(Path(folder), PASSWORD) for folder in folders)

    @property
    def url(self) -> str:
        """DSN of both, the standby first."""
        standby, primary = URL(self.standby.url), URL(self.primary.url)
        return with_host(str(primary), f"127.0.0.1:{standby.port},127.0.0.1:{primary.port}")

    async def start(self) -> None:
        """The primary, and a copy of it as the standby."""
        await self.primary.ensure()
        await self.follow()

    async def follow(self) -> None:
        """The standby is made anew from the primary; from now on every commit waits until it has it too.

        One that was frozen is killed first, before it can go on as a second primary.
        """
        if self.standby.running():
            await kill(self.standby)
        await asyncio.to_thread(_copy, self.primary.url, self.standby)
        await self.standby.ensure()
        conn = await asyncpg.connect(self.primary.url)
        await conn.execute("ALTER SYSTEM SET synchronous_standby_names = '*'")
        await conn.execute("SELECT pg_reload_conf()")
        await until(lambda: conn.fetchval("SELECT count(*) = 1 FROM pg_stat_replication WHERE sync_state = 'sync'"))
        await conn.close()

    async def promote(self) -> None:
        """The standby is the primary from now on; it does not wait for the other one."""
        self.primary, self.standby = self.standby, self.primary
        conn = await asyncpg.connect(self.primary.url)
        assert await conn.fetchval("SELECT pg_promote()")
        await conn.close()


def _copy(url: str, standby: PrivatePostgres) -> None:
    """What pg_basebackup makes, in the place of whatever the standby had."""
    programs, account, state = find_postgres(), server_account(), standby.log.parent
    assert programs is not None
    home, old = state / "postgres", state / "postgres" / "data"
    home.mkdir(mode=0o700, exist_ok=True)
    if account is not None:
        os.chown(home, account.uid, account.gid)
    subprocess.run(["rm", "-rf", old], check=True)
    subprocess.run(
        [programs.folder / "pg_basebackup", "--write-recovery-conf", "--checkpoint=fast", "-D", old, "-d", url],
        check=True,
        cwd=home,
        **(account.identity() if account else {}),
    )


@asynccontextmanager
async def postgres_pair() -> AsyncIterator[Pair]:
    """Both run; neither is migrated."""
    with open_folder() as one, open_folder() as other:
        pair = Pair((one, other))
        try:
            await pair.start()
            yield pair
        finally:
            for server in (pair.primary, pair.standby):
                if server.running():
                    await kill(server)


@asynccontextmanager
async def standby_of(primary: PrivatePostgres) -> AsyncIterator[PrivatePostgres]:
    """It follows the primary, may be made to lag, and no commit waits for it."""
    with open_folder() as folder:
        standby = PrivatePostgres(Path(folder), PASSWORD)
        await asyncio.to_thread(_copy, primary.url, standby)
        try:
            await standby.ensure()
            yield standby
        finally:
            if standby.running():
                await kill(standby)
