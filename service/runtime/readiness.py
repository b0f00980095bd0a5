"""Whether a process is of use right now, and what it does without (CONTRACT 2)."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import asyncpg

from service.runtime.metrics import DEGRADED
from service.runtime.postgres import UNAVAILABLE, SchemaBehind, close_pool, create_pool
from service.runtime.replica import Replica
from service.runtime.settings import Settings
from service.runtime.topology import Fault
from sql.connection import Connection
from sql.migrate import missing
from sql.replicas import flushed_position

PATIENCE = 2.0  # seconds; probes have time-outs of their own
Part = Literal["database", "schema", "draining", "broker", "topology", "replica"]


class BrokerHealth(Protocol):
    """What can be known of a process's connections to the broker."""

    @property
    def connected(self) -> bool:
        """Whether a publish could be confirmed now."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Exchanges and queues that were not as they should be when last seen."""

    async def complaint(self) -> str | None:
        """Why nothing can be published although it is connected: the broker's words; None when it can."""


@dataclass(frozen=True)
class Report:
    """``failing``: why the process should get no requests. ``degraded``: what it does without meanwhile."""

    failing: Sequence[Part]
    degraded: Sequence[Part]
    details: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """As HTTP says it."""
        return 503 if self.failing else 200

    @property
    def body(self) -> dict[str, Any]:
        """In JSON."""
        word = "unavailable" if self.failing else "degraded" if self.degraded else "ok"
        lists = {"failing": list(self.failing), "degraded": list(self.degraded)}
        return {"status": word, **{name: value for name, value in lists.items() if value}, **self.details}


class Readiness:
    """``needs_broker``: a process that is of no use without it. ``draining`` is set while the process stops.

    It asks the database over a connection of its own: one that is busy with requests is none that is away.
    """

    def __init__(
        self,
        settings: Settings,
        broker: BrokerHealth,
        *,
        needs_broker: bool = False,
        replica: Replica | None = None,
    ) -> None:
        self.draining = asyncio.Event()
        self._settings = settings
        self._broker = broker
        self._needs_broker = needs_broker
        self._replica = replica
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()

    async def report(self) -> Report:
        """What the process is worth; answers within a few seconds, whatever is away."""
        (failing, details), complaint = await asyncio.gather(self._database(), self._broker_complaint())
        if self.draining.is_set():
            failing.append("draining")
        degraded: list[Part] = []
        if complaint is not None:
            (failing if self._needs_broker else degraded).append("broker")
            details["broker"] = complaint
        if faults := self._broker.faults:
            degraded.append("topology")
            details["topology"] = [str(fault) for fault in faults]
        if "database" not in failing and (behind := await self._replica_complaint()) is not None:
            degraded.append("replica")
            details["replica"] = behind
        return Report(failing, degraded, details)

    async def count(self) -> None:
        """Sets the figure that says what the process does without."""
        DEGRADED.labels("broker").set(await self._broker_complaint() is not None)
        DEGRADED.labels("topology").set(bool(self._broker.faults))
        if self._replica is not None:
            DEGRADED.labels("replica").set(await self._replica_complaint() is not None)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """The connection of its own, for one who asks at a time; whatever keeps it from being made is raised."""
        async with self._opening:
            if self._pool is None:
                self._pool = await create_pool(self._settings, size=1, within=PATIENCE)
        async with self._pool.acquire() as conn:
            yield conn

    async def close(self) -> None:
        """Ends the connection to the database."""
        if self._pool is not None:
            await close_pool(self._pool)

    async def _database(self) -> tuple[list[Part], dict[str, Any]]:
        try:
            async with asyncio.timeout(PATIENCE), self.connection() as conn:
                lacking = await missing(conn)
        except SchemaBehind as error:
            return ["schema"], {"missing": list(error.lacking)}
        except (*UNAVAILABLE, asyncpg.PostgresError):
            return ["database"], {}
        return (["schema"], {"missing": lacking}) if lacking else ([], {})

    async def _replica_complaint(self) -> str | None:
        if self._replica is None or self._pool is None:
            return None
        try:
            async with asyncio.timeout(PATIENCE):
                async with self._pool.acquire() as conn:
                    position = await flushed_position(conn)
                return await self._replica.look(position)
        except TimeoutError:
            return "it does not answer"
        except (*UNAVAILABLE, asyncpg.PostgresError):
            return None  # of the primary, which is said elsewhere

    async def _broker_complaint(self) -> str | None:
        if not self._broker.connected:
            return "not connected"
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._broker.complaint()
        except TimeoutError:
            return "it does not answer"
