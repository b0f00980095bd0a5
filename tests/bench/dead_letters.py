"""What poison costs: ``python -m tests.bench.dead_letters`` prints one JSON object.

Malformed directory events with one good event behind them, all in the queue when ``clarion worker --only directory``
starts: when is the good one in its table, when are the others dead letters? Then ``clarion dead list`` (twice, which
must print the same letters), ``requeue --all`` and ``drop --all``, each from the start of the command to its end.
The processor time of Clarion's process stands beside each: on a busy machine it says more.
The servers are those that CLARION_DATABASE_URL and CLARION_AMQP_URL name, or private ones of the checkout.
"""

import argparse
import asyncio
import json
import os
import resource
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from typing import Any

import aio_pika
import asyncpg

from service.contracts.topology import Topology
from service.domain.dead_letters import dead_letter_headers
from service.runtime import logs
from service.runtime.settings import Settings
from service.runtime.topology import declare
from sql.connection import Connection
from tests.bench.environment import fresh_settings, print_report
from tests.bench.progress import log
from tests.bench.resources import machine
from tests.support.broker import BrokerClient, broker_client
from tests.support.commands import clarion
from tests.support.directory_feed import UNCONFIRMED, directory_event, feed
from tests.support.processes import installation
from tests.support.waiting import until


@dataclass(frozen=True)
class Sizes:
    """How many events are malformed, and how many letters are listed, requeued and dropped."""

    malformed: int = 10_000
    letters: int = 30_000


QUICK = Sizes(malformed=300, letters=600)


@dataclass
class Part:
    """An installation of its own for one part of the run."""

    settings: Settings
    conn: Connection
    outside: BrokerClient

    async def letters(self) -> int:
        """How many dead letters there are, but for those that a consumer holds."""
        return await self._waiting(self.outside.topology.dead)

    async def events(self) -> int:
        """How many directory events wait."""
        return await self._waiting(self.outside.topology.directory)

    async def _waiting(self, queue: str) -> int:
        declared = await self.outside.channel.declare_queue(queue, passive=True)
        return declared.declaration_result.message_count or 0


@asynccontextmanager
async def part() -> AsyncIterator[Part]:
    """Empty tables, empty queues."""
    async with fresh_settings() as settings, broker_client(settings) as outside:
        logs.configure(settings.model_copy(update={"log_level": "warning"}))  # stdout is for the report
        async with await aio_pika.connect(str(settings.amqp_url)) as connection:
            await declare(connection, Topology(settings.amqp_prefix))
        conn = await asyncpg.connect(str(settings.database_url))
        yield Part(settings, conn, outside)
        await conn.close()


def malformed(how_many: int) -> Iterator[bytes]:
    """Events of users without their id, each another."""
    for number in range(how_many):
        yield directory_event("user_created", number, name=f"Student Number {number}", uuid=f"uuid-{number}")


async def bury(how_many: int) -> dict[str, Any]:
    """From the worker's connection to the good event's commit, and to the last dead letter."""
    async with part() as there, installation(there.settings, fresh=True) as clarion_, feed(there.settings) as source:
        await source.publish(*malformed(how_many))
        await source.publish(directory_event("user_created", user_id="1", name="Good", workflow_state="registered"))
        worker = await clarion_.start("worker", "--only", "directory")
        await worker.logged("broker_connected")
        started = perf_counter()

        async def followed() -> bool:
            return bool(await there.conn.fetchval("SELECT count(*) FROM users WHERE id = 1"))

        async def buried() -> bool:
            return await there.letters() >= how_many

        await until(followed)
        good = perf_counter() - started
        await until(buried)
        seconds = perf_counter() - started
        before = _cpu_seconds()
        await worker.stop()
        left = await there.letters(), await there.events()
        assert left == (how_many, 0), left
        return {
            "events": how_many,
            "good_one_seconds": good,
            "seconds": seconds,
            "cpu_seconds": _cpu_seconds() - before,
            "per_second": how_many / seconds,
        }


def _cpu_seconds() -> float:
    """Of all processes that were started here and have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


async def _put(there: Part, how_many: int) -> None:
    """Dead letters as the worker makes them."""
    topology = there.outside.topology
    exchange = await there.outside.channel.get_exchange(topology.dead, ensure=False)
    bodies = list(malformed(how_many))

    async def put(body: bytes) -> None:
        headers = dead_letter_headers(
            {},
            reason="user_created: user_id is missing",
            source=topology.directory,
            routing_key="user_created",
            now=datetime.now(UTC),
        )
        message = aio_pika.Message(body, headers=headers, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await exchange.publish(message, topology.directory, mandatory=True)

    for start in range(0, how_many, UNCONFIRMED):
        await asyncio.gather(*map(put, bodies[start : start + UNCONFIRMED]))


async def _timed(there: Part, *arguments: str) -> tuple[dict[str, float], str]:
    """What the command took, and what it printed."""
    cpu, started = _cpu_seconds(), perf_counter()
    done = await clarion(there.settings, "dead", *arguments, fresh=True)
    took = {"seconds": perf_counter() - started, "cpu_seconds": _cpu_seconds() - cpu}
    assert (done.code, done.err) == (0, ""), done
    return took, done.out


async def browse(how_many: int) -> dict[str, Any]:
    """The commands for letters, on one queue of them."""
    async with part() as there:
        await _put(there, how_many)
        await until(partial(_has, there, how_many))
        first, listed = await _timed(there, "list")
        second, again = await _timed(there, "list", "--json")
        ids = [line.split("  ", 1)[0] for line in listed.splitlines()]
        assert len(ids) == how_many, len(ids)
        assert [json.loads(line)["id"] for line in again.splitlines()] == ids
        requeue, said = await _timed(there, "requeue", "--all")
        assert said == f"{how_many} requeued\n", said
        left = await there.letters(), await there.events()
        assert left == (0, how_many), left
        await _put(there, how_many)
        await until(partial(_has, there, how_many))
        drop, said = await _timed(there, "drop", "--all")
        assert said == f"{how_many} dropped\n", said
        return {"letters": how_many, "list": first, "list_again": second, "requeue": requeue, "drop": drop}


async def _has(there: Part, how_many: int) -> bool:
    return await there.letters() >= how_many


async def measure(sizes: Sizes) -> dict[str, Any]:
    """Everything, on the servers of the environment."""
    report: dict[str, Any] = {"sizes": asdict(sizes), "load_before": round(os.getloadavg()[0], 2)}
    for name, figures in (("bury", bury(sizes.malformed)), ("browse", browse(sizes.letters))):
        log(name)
        report[name] = await figures
        log(f"  {report[name]}")
    async with part() as there:
        report["machine"] = await machine(there.conn, there.settings)
    return report


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.dead_letters", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that everything works")
    chosen = QUICK if parser.parse_args().quick else Sizes()
    print_report(measure(chosen))
