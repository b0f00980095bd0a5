"""A PostgreSQL and a standby that streams from it, which may be made to lag."""

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from deploy.account import server_account
from deploy.binaries import find_postgres
from deploy.postgres import PrivatePostgres
from tests.support.private_servers import PASSWORD, kill, open_folder


@asynccontextmanager
async def standby_of(primary: PrivatePostgres) -> AsyncIterator[PrivatePostgres]:
    """It follows the primary and no commit waits for it."""
    with open_folder() as folder:
        standby = PrivatePostgres(Path(folder), PASSWORD)
        await asyncio.to_thread(_copy, primary.url, standby.log.parent / "postgres")
        try:
            await standby.ensure()
            yield standby
        finally:
            if standby.running():
                await kill(standby)


def _copy(url: str, home: Path) -> None:
    programs, account = find_postgres(), server_account()
    assert programs is not None
    home.mkdir(mode=0o700)
    if account is not None:
        os.chown(home, account.uid, account.gid)
    subprocess.run(
        [
            programs.folder / "pg_basebackup",
            "--write-recovery-conf",
            "--checkpoint=fast",
            "-D",
            home / "data",
            "-d",
            url,
        ],
        check=True,
        cwd=home,
        **(account.identity() if account else {}),
    )
