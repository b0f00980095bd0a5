"""What others notice of big sends on a young installation: ``python -m tests.bench.bystanders`` prints one JSON object.

On a database that was just made and that is never analysed by hand, some of the institution read their inboxes, count
what is unread, open a conversation and write to each other, at a steady rate: while nothing else happens, and while one
message after the other is sent to everybody. What the gateway and the workers know of the tables when the first of them
begins, they have learnt from a few hundred rows.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from statistics import median
from typing import Any

from sql.connection import Connection
from tests.bench.alone import measured_alone
from tests.bench.environment import print_report
from tests.bench.institution import Course, Institution
from tests.bench.pace import paced, percentile, set_after
from tests.bench.progress import log
from tests.bench.sending import assert_exactly_once, post
from tests.support.processes import Client

_PAGE = 10  # messages that each bystander has before; a page of the list
Latencies = Mapping[str, Sequence[float]]  # seconds of each kind of request


@dataclass(frozen=True)
class Sizes:
    """How much is done besides."""

    sends: int = 8
    bystanders: int = 200
    per_second: float = 10  # of each kind of request
    warm_up: float = 2  # seconds
    idle: float = 10  # seconds


QUICK = Sizes(sends=1, bystanders=20, warm_up=0.1, idle=0.3)


class Bystanders:
    """Some of the recipients, who ask for things of their own."""

    def __init__(self, course: Course, clients: Mapping[int, Client], shown: Mapping[int, int]) -> None:
        self._course = course
        self._clients = clients
        self._ids = list(clients)
        self._shown = shown  # a conversation of each
        self._random = Random(7)
        self.refused = 0  # requests that were answered with 503

    async def ask(self, *, per_second: float, done: asyncio.Event) -> Latencies:
        """All kinds of requests side by side, each at the given rate."""
        kinds: Mapping[str, Callable[[], Awaitable[None]]] = {
            "list": self._list,
            "show": self._show,
            "unread_count": self._count,
            "post": self._post,
        }
        found = await asyncio.gather(*(paced(ask, per_second=per_second, done=done) for ask in kinds.values()))
        return dict(zip(kinds, found, strict=True))

    async def _call(self, user_id: int, expected: int, method: str, path: str, **parameters: Any) -> None:
        status, body, _ = await self._clients[user_id].call(method, path, **parameters)
        self.refused += status == 503
        assert status in (expected, 503), body

    async def _get(self, user_id: int, path: str) -> None:
        await self._call(user_id, 200, "GET", path)

    async def _list(self) -> None:
        await self._get(self._random.choice(self._ids), "/conversations")

    async def _show(self) -> None:
        user_id = self._random.choice(self._ids)
        await self._get(user_id, f"/conversations/{self._shown[user_id]}")

    async def _count(self) -> None:
        await self._get(self._random.choice(self._ids), "/conversations/unread_count")

    async def _post(self) -> None:
        author, reader = self._random.sample(self._ids, 2)
        message = {"recipients": [str(reader)], "body": "Hello", "context_code": f"course_{self._course.id}"}
        await self._call(author, 201, "POST", "/conversations", json=message)


async def _bystanders(
    conn: Connection, institution: Institution, course: Course, client: Callable[[str], Client], how_many: int
) -> Bystanders:
    """Some of the course, each with a page of conversations, sent before them and others knew of anything larger."""
    chosen = sorted(Random(7).sample(course.students, how_many))
    few = await institution.course_of(course.teacher, chosen)
    before = await institution.more_teachers(few, _PAGE)
    for seen, token in zip(before, await institution.tokens([seen.teacher for seen in before]), strict=True):
        await post(client(token), seen)
    shown = await conn.fetch(
        "SELECT user_id, min(conversation_id) AS shown FROM participants WHERE user_id = ANY ($1) GROUP BY user_id",
        chosen,
    )
    clients = dict(zip(chosen, map(client, await institution.tokens(chosen)), strict=True))
    return Bystanders(course, clients, {row["user_id"]: row["shown"] for row in shown})


async def measure(
    sizes: Sizes,
    conn: Connection,
    institution: Institution,
    course: Course,
    client: Callable[[str], Client],
) -> dict[str, float]:
    """Milliseconds of each kind of request, idle and during sends to the course; ``client`` makes one of a token."""
    seen_by = await institution.more_teachers(course, sizes.sends)
    teachers = [client(token) for token in await institution.tokens([seen.teacher for seen in seen_by])]
    bystanders = await _bystanders(conn, institution, course, client, sizes.bystanders)
    await bystanders.ask(per_second=sizes.per_second, done=await set_after(sizes.warm_up))
    idle = await bystanders.ask(per_second=sizes.per_second, done=await set_after(sizes.idle))
    log(f"  idle: {_milliseconds('', idle)}")
    bystanders.refused, done = 0, asyncio.Event()
    asking = asyncio.create_task(bystanders.ask(per_second=sizes.per_second, done=done))
    sent = [await post(teacher, seen) for teacher, seen in zip(teachers, seen_by, strict=True)]
    done.set()
    during = await asking
    log(f"  during sends: {_milliseconds('', during)}")
    for timed in sent:
        await assert_exactly_once(conn, timed.batch_id, len(course.students))
    rates = [len(course.students) / timed.finished_after for timed in sent]
    log("  " + ", ".join(f"{rate:,.0f}" for rate in rates) + " recipients a second")
    return (
        _milliseconds("idle_", idle)
        | _milliseconds("during_sends_", during)
        | {"young_per_second": median(rates), "refused_during_sends": bystanders.refused}
        | {
            f"{kind}_during_sends_to_idle": percentile(during[kind], 0.99) / percentile(idle[kind], 0.99)
            for kind in idle
        }
    )


def _milliseconds(prefix: str, latencies: Latencies) -> dict[str, float]:
    return {
        f"{prefix}{kind}_{name}_ms": round(percentile(seconds, share) * 1000, 2)
        for kind, seconds in latencies.items()
        for name, share in (("p50", 0.5), ("p99", 0.99))
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.bystanders", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that everything works")
    quick = parser.parse_args().quick
    sizes, recipients = (QUICK, 1_500) if quick else (Sizes(), 100_000)
    print_report(measured_alone(measure, sizes, recipients))
