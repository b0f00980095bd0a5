"""Whether readers have what was accepted for them: ``python -m tests.bench.seen_in_time`` prints one JSON object.

While one message after the other is sent to everybody, some of them read, at a steady rate: each read has to show all
that was accepted before it began, with or without a worker. ``--recipients 1000000`` for the largest send.
"""

import argparse
import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Any

from sql.connection import Connection
from tests.bench.alone import WORKERS, measured_alone
from tests.bench.environment import print_report
from tests.bench.institution import Course, Institution
from tests.bench.pace import paced, percentile, set_after
from tests.bench.progress import log
from tests.bench.sending import accept, assert_exactly_once, finished
from tests.support.processes import Client

# Whole chunks of some sends, without what was cut out of them for readers, and the seconds that the sends took in all.
_CHUNKS = """
SELECT sum(c.chunks)::float8 AS chunks, sum(extract(epoch FROM b.finished_at - b.created_at))::float8 AS seconds
FROM batches b
CROSS JOIN LATERAL (SELECT count(*) AS chunks FROM chunks WHERE batch_id = b.id AND position < 1000000000) c
WHERE b.id = ANY ($1::bigint[])
"""
_UNREAD = """
SELECT u.id, (SELECT count(*) FROM listings l WHERE l.user_id = u.id AND l.in_unread) AS unread
FROM unnest($1::bigint[]) AS u(id)
"""


@dataclass(frozen=True)
class Sizes:
    """How much is read."""

    reads: int = 2_000  # of each kind during sends, at least; the last send is followed to its end
    readers: int = 1_000
    per_second: float = 50  # of each kind
    warm_up: float = 2  # seconds
    idle: float = 10  # seconds


QUICK = Sizes(reads=30, readers=50, warm_up=0.1, idle=0.3)


class Readers:
    """Some of the recipients, who never open what they find, so that a send adds one to what is unread."""

    def __init__(self, clients: Mapping[int, Client], unread: Mapping[int, int]) -> None:
        self._clients = clients
        self._ids = list(clients)
        self._unread = unread  # of each, before the first send
        self._random = Random(11)
        self.accepted: list[int] = []  # the sender of each send
        self.reads = self.unseen = self.refused = 0

    async def ask(self, *, per_second: float, done: asyncio.Event) -> tuple[list[float], list[float]]:
        """Seconds that counts of what is unread, and lists of the newest conversation, took."""
        counts, lists = await asyncio.gather(
            paced(self._count, per_second=per_second, done=done), paced(self._list, per_second=per_second, done=done)
        )
        return counts, lists

    async def _count(self) -> None:
        reader, before = self._random.choice(self._ids), len(self.accepted)
        found = await self._get(reader, "/conversations/unread_count")
        if found is not None:
            self._note(seen=int(found["unread_count"]) >= self._unread[reader] + before)

    async def _list(self) -> None:
        before = len(self.accepted)
        found = await self._get(self._random.choice(self._ids), "/conversations?per_page=1")
        if found is not None and before:
            # The newest of all that is there: of the last send accepted before, or of one accepted meanwhile.
            shown = {other for conversation in found for other in conversation["audience"]}
            self._note(seen=not shown.isdisjoint(self.accepted[before - 1 :]))

    def _note(self, *, seen: bool) -> None:
        self.reads += 1
        self.unseen += not seen

    async def _get(self, user_id: int, path: str) -> Any:
        """The answer's body; None of one that was refused with 503."""
        status, body, _ = await self._clients[user_id].call("GET", path)
        assert status in (200, 503), body
        self.refused += status == 503
        return body if status == 200 else None


async def measure(
    sizes: Sizes,
    conn: Connection,
    institution: Institution,
    course: Course,
    client: Callable[[str], Client],
) -> dict[str, float]:
    """Share of the reads that show all that was accepted before, and milliseconds; ``client`` makes one of a token."""
    chosen = sorted(Random(11).sample(course.students, min(sizes.readers, len(course.students))))
    clients = dict(zip(chosen, map(client, await institution.tokens(chosen)), strict=True))
    unread = {row["id"]: row["unread"] for row in await conn.fetch(_UNREAD, chosen)}
    readers = Readers(clients, unread)
    await readers.ask(per_second=sizes.per_second, done=await set_after(sizes.warm_up))
    idle = await readers.ask(per_second=sizes.per_second, done=await set_after(sizes.idle))
    readers.reads = 0
    batches: list[int] = []

    async def read_while_sending(reads: int) -> tuple[list[float], list[float]]:
        done = asyncio.Event()
        asking = asyncio.create_task(readers.ask(per_second=sizes.per_second, done=done))
        read = readers.reads
        while readers.reads < read + reads:
            (seen,) = await institution.more_teachers(course, 1)
            teacher = client(await institution.token(seen.teacher))
            batches.append(await accept(teacher, seen))
            readers.accepted.append(seen.teacher)
            await finished(teacher, batches[-1])
        done.set()
        return await asking

    # The first send is a warm-up: what its readers see counts, how long it took them does not.
    await read_while_sending(1)
    during = await read_while_sending(2 * sizes.reads)
    for batch_id in batches:
        await assert_exactly_once(conn, batch_id, len(course.students))
    (worked,) = await conn.fetch(_CHUNKS, batches)
    chunk = worked["seconds"] * WORKERS / worked["chunks"]
    figures = {
        "seen_in_time_share": 1 - readers.unseen / readers.reads,
        "seen_in_time_reads": readers.reads,
        "seen_in_time_refused": readers.refused,
        "seen_in_time_chunks_delivered_early": await _delivered_early(clients[chosen[0]]),
        "seen_in_time_chunk_ms": round(chunk * 1000, 2),
        "seen_in_time_p99_to_idle_and_chunk": max(
            percentile(amid, 0.99) / (percentile(alone, 0.99) + chunk) for amid, alone in zip(during, idle, strict=True)
        ),
        **_milliseconds("idle", idle),
        **_milliseconds("during_sends", during),
    }
    log("  " + ", ".join(f"{name.removeprefix('seen_in_time_')} {value:,g}" for name, value in figures.items()))
    return figures


def _milliseconds(when: str, seconds: tuple[Sequence[float], Sequence[float]]) -> dict[str, float]:
    return {
        f"seen_in_time_{kind}_{when}_{name}_ms": round(percentile(each, share) * 1000, 2)
        for kind, each in zip(("unread_count", "list"), seconds, strict=True)
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


async def _delivered_early(client: Client) -> float:
    """Chunks that the gateway has delivered for readers."""
    found = re.search(r"^clarion_chunks_delivered_early_total ([\d.e+-]+)$", await client.metrics(), re.MULTILINE)
    return float(found[1]) if found else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.seen_in_time", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that everything works")
    parser.add_argument("--recipients", type=int, help="of each send; 100,000 unless given")
    parser.add_argument("--reads", type=int, help="of each kind during sends, 5,000 unless given")
    asked = parser.parse_args()
    small, usual = (QUICK, 1_500), (Sizes(reads=5_000), 100_000)
    default, everybody = small if asked.quick else usual
    sizes = replace(default, reads=asked.reads or default.reads)
    print_report(measured_alone(measure, sizes, asked.recipients or everybody))
