"""How sends share the workers: ``python -m tests.bench.fairness`` prints one JSON object.

Ten senders who start together, by Jain's index of their rates (1: all the same; 0.1: one of ten has it all). A small
send and a message to one person amid a big send, beside the same on an idle installation.
"""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median

from sql.connection import Connection
from tests.bench.alone import WORKERS, measured_alone
from tests.bench.environment import print_report
from tests.bench.institution import Course, Institution
from tests.bench.pace import paced, percentile, set_after
from tests.bench.progress import log
from tests.bench.sending import accept, assert_exactly_once, finished
from tests.support.processes import Client

_PAUSE = 0.05  # seconds between two small sends
_MOST = 100  # small sends amid one big
_CONNECTIONS = 8  # of a gateway to the database
_ROUNDS = 5


@dataclass(frozen=True)
class Sizes:
    """How much is sent."""

    senders: int = 10
    each: int = 20_000  # recipients of each of them
    small: int = 100  # recipients of the small send
    idle_sends: int = 20  # small ones
    big_sends: int = (
        6  # to the whole course, amid half of which small ones are sent, and single messages amid the others
    )
    posts_per_second: float = 20
    warm_up: float = 2  # seconds
    idle: float = 10


QUICK = Sizes(senders=2, each=100, small=20, idle_sends=2, big_sends=2, warm_up=0.1, idle=0.3)

_TIMES = """
SELECT extract(epoch FROM finished_at - created_at)::float8 AS seconds FROM batches WHERE id = ANY ($1) ORDER BY id
"""


def jain(rates: Sequence[float]) -> float:
    """Jain's index of fairness."""
    return sum(rates) ** 2 / (len(rates) * sum(rate * rate for rate in rates))


class _Fairness:
    def __init__(
        self, sizes: Sizes, conn: Connection, institution: Institution, course: Course, client: Callable[[str], Client]
    ) -> None:
        self._sizes = sizes
        self._conn = conn
        self._institution = institution
        self._course = course
        self._client = client

    async def together(self) -> float:
        """The index of senders who start at once, each to recipients of their own."""
        courses = [await self._institution.course(self._sizes.each) for _ in range(self._sizes.senders)]
        teachers = [await self._teacher(course) for course in courses]
        batches = await asyncio.gather(*map(accept, teachers, courses))
        await asyncio.gather(*map(finished, teachers, batches))
        seconds = await self._seconds(batches, self._sizes.each)
        return jain([self._sizes.each / each for each in seconds])

    async def small_sends(self) -> tuple[float, float, float]:
        """Seconds of a small send on an idle installation and amid big ones, and of one chunk of these; medians."""
        few = await self._institution.course(self._sizes.small)
        idle = await self._small_sends(await self._seen_by(few, self._sizes.idle_sends), asyncio.Event())
        amid: list[float] = []
        chunk: list[float] = []
        for _ in range(self._sizes.big_sends // 2):
            senders, ended = await self._seen_by(few, _MOST), asyncio.Event()
            sending = await self._big_send(ended)
            amid += await self._small_sends(senders, ended)
            chunk.append(await sending())
        return median(idle), median(amid), median(chunk)

    async def single_posts(self) -> tuple[float, float]:
        """Seconds of a message to one person, of which 1 in 100 takes longer: idle, and amid big sends."""
        author, *readers = await self._institution.users(51)
        await self._institution.course_of(author, readers)
        client, recipients = self._client(await self._institution.token(author)), cycle(readers)

        async def post() -> None:
            message = {"recipients": [str(next(recipients))], "body": "Hello"}
            status, body, _ = await client.call("POST", "/conversations", json=message)
            assert status in (201, 503), body

        pace = self._sizes.posts_per_second
        for _ in range(_ROUNDS):  # each connection of the gateway's has planned every statement then
            await asyncio.gather(*(post() for _ in range(_CONNECTIONS)))
        await paced(post, per_second=pace, done=await set_after(self._sizes.warm_up))
        idle = await paced(post, per_second=pace, done=await set_after(self._sizes.idle))
        amid: list[float] = []
        for _ in range(self._sizes.big_sends // 2):
            ended = asyncio.Event()
            sending = await self._big_send(ended)
            amid += await paced(post, per_second=pace, done=ended)
            await sending()
        return percentile(idle, 0.99), percentile(amid, 0.99)

    async def _big_send(self, ended: asyncio.Event) -> Callable[[], Awaitable[float]]:
        """Begins a send to the whole course; what waits for it brings the seconds that a worker had for a chunk."""
        [(teacher, seen)] = await self._seen_by(self._course, 1)
        batch_id = await accept(teacher, seen)

        async def follow() -> None:
            try:
                await finished(teacher, batch_id)
            finally:
                ended.set()

        following = asyncio.create_task(follow())

        async def wait() -> float:
            await following
            chunks: int = await self._conn.fetchval("SELECT count(*) FROM chunks WHERE batch_id = $1", batch_id)
            (seconds,) = await self._seconds([batch_id], len(seen.students))
            log(f"  {len(seen.students):,} recipients in {seconds:.2f} s")
            return seconds * min(WORKERS, chunks) / chunks

        return wait

    async def _small_sends(self, senders: Sequence[tuple[Client, Course]], ended: asyncio.Event) -> list[float]:
        """Seconds of sends one after the other, the first at once, the last before ``ended``."""
        batches: list[int] = []
        for teacher, seen in senders:
            batches.append(await accept(teacher, seen))
            await finished(teacher, batches[-1])
            if ended.is_set():
                break
            await asyncio.sleep(_PAUSE)
        return await self._seconds(batches, self._sizes.small)

    async def _seen_by(self, course: Course, how_many: int) -> list[tuple[Client, Course]]:
        """The course as new teachers see it, made before anything is measured."""
        seen_by = await self._institution.more_teachers(course, how_many)
        tokens = await self._institution.tokens([seen.teacher for seen in seen_by])
        return list(zip(map(self._client, tokens), seen_by, strict=True))

    async def _teacher(self, course: Course) -> Client:
        return self._client(await self._institution.token(course.teacher))

    async def _seconds(self, batches: Sequence[int], recipients: int) -> list[float]:
        """From acceptance to the last delivery, by the database; each is checked to be exactly once."""
        for batch_id in batches:
            await assert_exactly_once(self._conn, batch_id, recipients)
        return [row["seconds"] for row in await self._conn.fetch(_TIMES, batches)]


async def measure(
    sizes: Sizes, conn: Connection, institution: Institution, course: Course, client: Callable[[str], Client]
) -> dict[str, float]:
    """The index, and milliseconds amid sends to the course and without; ``client`` makes one of a token."""
    fairness = _Fairness(sizes, conn, institution, course, client)
    index = await fairness.together()
    log(f"  {sizes.senders} senders: {index:.4f}")
    idle, amid, chunk = await fairness.small_sends()
    log(
        f"  a send to {sizes.small}: {idle * 1000:.0f} ms idle, {amid * 1000:.0f} amid; one chunk {chunk * 1000:.0f} ms"
    )
    post_idle, post_amid = await fairness.single_posts()
    log(f"  p99 of a message to one: {post_idle * 1000:.0f} ms idle, {post_amid * 1000:.0f} amid")
    return {
        "senders_together_jain": index,
        "small_send_idle_ms": idle * 1000,
        "small_send_amid_big_ms": amid * 1000,
        "small_send_chunk_ms": chunk * 1000,
        "small_send_without_chunk_to_idle": max(amid - chunk, idle) / idle,
        "single_post_idle_p99_ms": post_idle * 1000,
        "single_post_amid_big_p99_ms": post_amid * 1000,
        "single_post_amid_big_to_idle": post_amid / post_idle,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fairness", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that everything works")
    parser.add_argument("--recipients", type=int, default=100_000, help="of the big sends")
    asked = parser.parse_args()
    sizes, recipients = (QUICK, 1_500) if asked.quick else (Sizes(), asked.recipients)
    print_report(measured_alone(measure, sizes, recipients))
