"""The two servers everything needs: the ones that variables name, or private ones of the checkout.

Scripts that run at the same time share the private ones; the last to leave stops them. Locks say who is
there, so a killed script counts as gone: its guardian stops what no other script uses.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.failure import CannotRun
from deploy.guardian import guarded
from deploy.locks import alone, alone_here, open_lock, share, try_lock
from deploy.named import check_amqp, check_database
from deploy.postgres import PrivatePostgres
from deploy.rabbitmq import PrivateRabbitMQ
from service.runtime.settings import SettingsError, from_file

Private = PrivatePostgres | PrivateRabbitMQ
_GATE = "servers.lock"  # held while servers are started or stopped
_USERS = "servers.users"  # held together by the scripts that use them


@dataclass(frozen=True)
class Servers:
    """Where both answer, and which of them belong to the checkout."""

    database_url: str
    amqp_url: str
    private: tuple[Private, ...]

    def environment(self) -> dict[str, str]:
        """The variables that give both addresses to Clarion's processes, in place of files that may have them."""
        return {
            "CLARION_DATABASE_URL": self.database_url,
            "CLARION_DATABASE_URL_FILE": "",
            "CLARION_AMQP_URL": self.amqp_url,
            "CLARION_AMQP_URL_FILE": "",
        }

    def ended(self) -> list[Private]:
        """Private servers that do not run any more."""
        return [server for server in self.private if not server.process.alive()]


@asynccontextmanager
async def servers(state: Path) -> AsyncIterator[Servers]:
    """Both servers, running and reachable while the block runs. CannotRun says what stands in the way."""
    gate = state / _GATE
    membership = open_lock(state / _USERS)
    password = _password(state)
    database_url, amqp_url = _named("CLARION_DATABASE_URL"), _named("CLARION_AMQP_URL")
    if database_url:
        await check_database(database_url)
    if amqp_url:
        await check_amqp(amqp_url)
    postgres = None if database_url else PrivatePostgres(state, password)
    rabbitmq = None if amqp_url else PrivateRabbitMQ(state, password)
    private = tuple(server for server in (postgres, rabbitmq) if server is not None)
    with guarded(state):
        try:
            async with alone_here(gate):
                share(membership)
                for server in private:
                    if not server.process.alive():
                        print(f"Starting the private {server.name}", flush=True)
                # Both come to an end before one's failure is raised, so that stopping finds nothing half begun.
                for failure in await asyncio.gather(*(s.ensure() for s in private), return_exceptions=True):
                    if failure is not None:
                        raise failure
            yield Servers(
                database_url or (postgres.url if postgres else ""),
                amqp_url or (rabbitmq.url if rabbitmq else ""),
                private,
            )
        finally:
            async with alone_here(gate):
                if try_lock(membership):
                    await _stop(private)
                os.close(membership)


def _named(variable: str) -> str | None:
    try:
        return from_file(variable) or os.environ.get(variable)
    except SettingsError as error:
        raise CannotRun(str(error)) from None


async def stop_servers(state: Path, *, also_used: bool) -> list[str]:
    """Stop the private servers that no script uses, or all of them; the names of those that ran."""
    membership = open_lock(state / _USERS)
    try:
        async with alone_here(state / _GATE):
            if not (try_lock(membership) or also_used):
                return []
            left = [server for server in (PrivatePostgres(state, ""), PrivateRabbitMQ(state, "")) if server.running()]
            await _stop(left)
            return [server.name for server in left]
    finally:
        os.close(membership)


async def _stop(private: Iterable[Private]) -> None:
    await asyncio.gather(*(asyncio.to_thread(server.stop) for server in private))


def _password(state: Path) -> str:
    """One random password per checkout: loopback is open to every user of a machine."""
    file = state / "password"
    if not file.exists():
        file.touch(mode=0o600)
    with alone(file):
        if not (known := file.read_text("ascii")):
            known = secrets.token_hex(16)
            file.write_text(known, "ascii")
    return known
