"""Messages seen in time: who reads has what was accepted for them, with or without a worker (CONTRACT 3.3)."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web
from prometheus_client import generate_latest

from service.api import early_delivery as waits
from service.api.app import build_app
from service.application.messages import early_delivery as locks
from service.application.messages.chunk import read_chunk
from service.application.messages.early_delivery import MOST_CUTS
from service.contracts.commands import DeliverChunk
from service.runtime import metrics
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.batches import refused
from tests.support.bulk_send_invariants import assert_delivered_once
from tests.support.event_consumer import event_consumer
from tests.support.http_calls import call
from tests.support.institution import Institution
from tests.support.school import School
from tests.support.waiting import PATIENCE, until
from workers.deliver import Deliverer
from workers.outcome import Done
from workers.relay import Relay

Token = Callable[..., Awaitable[dict[str, str]]]
Read = Callable[[int], Awaitable[str]]
SendToAll = Callable[..., Awaitable[int]]

BLOCKED = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE cardinality(pg_blocking_pids(pid)) > 0)"


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, a reader waits for what can be delivered."""
    monkeypatch.setattr(waits, "PATIENCE", 2 * PATIENCE)
    monkeypatch.setattr(locks, "LONGEST_WAIT", timedelta(seconds=PATIENCE))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Small chunks, and time."""
    return settings.model_copy(
        update={
            "chunk_size": 100,
            "request_timeout": 8 * PATIENCE,
            "throttle_maximum": 0,
            "max_bulk_private_recipients": 1000,
        }
    )


@pytest.fixture
def send(client: aiohttp.ClientSession, school: School, token: Token, conn: asyncpg.Connection) -> SendToAll:
    """The teacher writes to the whole course, and no worker runs; returns the batch's id."""

    async def post(subject: str = "Hello", **parts: Any) -> int:
        sent = {
            "recipients": [f"course_{school.course}_students"],
            "subject": subject,
            "body": subject,
            "mode": "async",
            "group_conversation": True,
            "bulk_message": True,
            **parts,
        }
        await call(client, await token(school.teacher), "POST", "/conversations", status=202, json=sent)
        return int(await conn.fetchval("SELECT max(id) FROM batches"))

    return post


@pytest.fixture
def unread(client: aiohttp.ClientSession, token: Token) -> Read:
    """How many unread conversations a user has, asked as the user."""

    async def ask(user: int) -> str:
        return str((await call(client, await token(user), "GET", "/conversations/unread_count"))["unread_count"])

    return ask


async def states(conn: asyncpg.Connection) -> list[str]:
    """Of all chunks, in order."""
    return [row["state"] for row in await conn.fetch("SELECT state FROM chunks ORDER BY batch_id, position")]


async def test_without_any_worker_everybody_who_looks_has_the_message(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection
) -> None:
    batch_id = await send()
    assert await states(conn) == ["pending"] * 3
    assert await unread(school.students[0]) == "1"
    assert await states(conn) == ["delivered", "pending", "pending"]
    assert await conn.fetchval("SELECT state FROM batches") == "sending"

    assert [await unread(student) for student in school.students] == ["1"] * len(school.students)

    await assert_delivered_once(conn, batch_id, school.students)


@pytest.mark.parametrize("scope", ["", "?scope=unread", "?filter[]=course_{}", "?include_all_conversation_ids=1"])
async def test_a_list_has_it_too(
    send: SendToAll, client: aiohttp.ClientSession, token: Token, school: School, scope: str
) -> None:
    await send("Greetings", context_code=f"course_{school.course}")
    listed = await call(client, await token(school.students[7]), "GET", "/conversations" + scope.format(school.course))
    listed = listed["conversations"] if isinstance(listed, dict) else listed
    assert [each["subject"] for each in listed] == ["Greetings"]


async def test_a_thread_that_is_shown_has_the_new_message(
    send: SendToAll, client: aiohttp.ClientSession, token: Token, school: School
) -> None:
    own = {"group_conversation": False, "context_code": f"course_{school.course}"}
    await send("First", **own)
    headers = await token(school.students[120])
    (thread,) = await call(client, headers, "GET", "/conversations")
    await send("Second", **own)
    shown = await call(client, headers, "GET", f"/conversations/{thread['id']}")
    assert [message["body"] for message in shown["messages"]] == ["Second", "First"]


@pytest.fixture
def slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten recipients have the message when one of them reads."""
    monkeypatch.setattr(locks, "SLICE", 10)
    monkeypatch.setattr(locks, "WHOLE", 15)


@pytest.mark.usefixtures("slices")
async def test_who_reads_has_those_around_delivered_and_not_all_of_a_large_chunk(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection
) -> None:
    """The rest of the chunk stays where it was."""
    await send()
    assert await unread(school.students[57]) == "1"
    assert [student for student in school.students if await delivered_to(conn, student)] == school.students[50:60]
    chunks = await conn.fetch("SELECT state, size FROM chunks ORDER BY position")
    assert [tuple(chunk) for chunk in chunks[:3]] == [
        ("pending", 90),
        ("pending", 100),
        ("pending", len(school.students) - 200),
    ]
    assert [tuple(chunk) for chunk in chunks[3:]] == [("delivered", 10)]


@pytest.mark.usefixtures("slices")
async def test_in_slices_too_everybody_who_looks_has_the_message_once(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection
) -> None:
    batch_id = await send()
    chance = random.Random(3)
    assert [await unread(student) for student in chance.sample(school.students, len(school.students))] == ["1"] * len(
        school.students
    )
    await assert_delivered_once(conn, batch_id, school.students)


@pytest.mark.usefixtures("slices")
async def test_a_worker_that_has_read_a_chunk_delivers_what_readers_left_of_it(
    *,
    send: SendToAll,
    unread: Read,
    school: School,
    conn: asyncpg.Connection,
    settings: Settings,
    pool: asyncpg.Pool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The cut comes between its reading and its writing."""
    batch_id = await send()
    seen: list[str] = []

    async def read_and_be_overtaken(*args: Any) -> Any:
        found = await read_chunk(*args)
        if not seen:
            seen.append(await unread(school.students[42]))
        return found

    monkeypatch.setattr("workers.deliver.read_chunk", read_and_be_overtaken)
    worker = Deliverer(settings, pool)
    for position in range(3):
        assert await worker.handle(DeliverChunk(batch_id=batch_id, position=position)) == Done()

    assert seen == ["1"]
    await assert_delivered_once(conn, batch_id, school.students)


@pytest.mark.usefixtures("slices")
async def test_a_slice_that_nobody_came_to_deliver_is_the_workers(
    send: SendToAll, school: School, conn: asyncpg.Connection, settings: Settings, pool: asyncpg.Pool
) -> None:
    """The gateway was killed after the cut; the slice waits for its turn like any other chunk."""
    batch_id = await send()
    cut = await locks.cut_out(conn, batch_id, school.students[3])
    assert cut is not None
    assert cut.recipients == frozenset(school.students[:10])
    again = await locks.cut_out(conn, batch_id, school.students[3])
    assert again == cut  # who asks next does not cut anew
    commands = asyncio.Queue[DeliverChunk]()
    worker = Deliverer(settings, pool, commands.put)
    commands.put_nowait(DeliverChunk(batch_id=batch_id, position=0))
    await conn.execute(
        "UPDATE chunks SET due_at = CASE WHEN position = 0 THEN now() ELSE 'infinity' END WHERE position < 3"
    )
    while not commands.empty():
        assert await worker.handle(commands.get_nowait()) == Done()
    await assert_delivered_once(conn, batch_id, school.students)


@pytest.mark.usefixtures("slices")
async def test_who_is_cut_out_of_a_chunk_meanwhile_is_found_again(
    *,
    send: SendToAll,
    client: aiohttp.ClientSession,
    token: Token,
    school: School,
    conn: asyncpg.Connection,
    database_url: str,
) -> None:
    """Another gateway cuts at the same moment."""
    batch_id = await send()
    headers = await token(school.students[5])
    other = await asyncpg.connect(database_url)
    async with other.transaction():
        await locks.cut_out(other, batch_id, school.students[3])
        reader = asyncio.create_task(call(client, headers, "GET", "/conversations/unread_count"))
        await until(lambda: conn.fetchval(BLOCKED))
    assert await reader == {"unread_count": "1"}
    await other.close()
    assert [row["size"] for row in await conn.fetch("SELECT size FROM chunks WHERE state = 'delivered'")] == [10]


@pytest.mark.usefixtures("slices")
@pytest.mark.parametrize("state", ["paused", "cancelled"])
async def test_nothing_is_cut_in_a_batch_that_was_stopped_meanwhile(
    send: SendToAll, school: School, conn: asyncpg.Connection, state: str
) -> None:
    """Between the look for what the reader waits for and the cut."""
    batch_id = await send()
    await conn.execute("UPDATE batches SET state = $1", state)
    assert await locks.cut_out(conn, batch_id, school.students[0]) is None
    assert await states(conn) == ["pending"] * 3


async def test_readers_of_one_chunk_ask_the_database_once(
    *,
    send: SendToAll,
    client: aiohttp.ClientSession,
    token: Token,
    school: School,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """They take no connection of the pool each while they wait."""
    await send()
    tokens = [await token(student) for student in school.students[:8]]
    arrived, asked = asyncio.Semaphore(0), []
    deliver, cut_out = waits.EarlyDeliveries.deliver, locks.cut_out

    async def noted(*args: Any, **options: Any) -> None:
        arrived.release()
        await deliver(*args, **options)

    async def counted(*args: Any) -> locks.Slice | None:
        asked.append(args)
        return await cut_out(*args)

    monkeypatch.setattr(waits.EarlyDeliveries, "deliver", noted)
    monkeypatch.setattr(waits, "cut_out", counted)
    async with held(database_url, "SELECT FROM chunks FOR UPDATE"):
        readers = [asyncio.create_task(call(client, each, "GET", "/conversations/unread_count")) for each in tokens]
        for _ in readers:
            await arrived.acquire()
    assert await asyncio.gather(*readers) == [{"unread_count": "1"}] * 8
    assert len(asked) == 1


async def test_a_reader_does_not_wait_for_a_database_that_is_away(
    send: SendToAll, unread: Read, school: School, monkeypatch: pytest.MonkeyPatch
) -> None:
    await send()

    async def away(*_: Any) -> None:
        raise ConnectionResetError("database is away")

    monkeypatch.setattr(waits, "cut_out", away)
    async with asyncio.timeout(PATIENCE):  # a reader's own is twice as long here
        assert await unread(school.students[0]) == "0"


async def delivered_to(conn: asyncpg.Connection, user: int) -> bool:
    return bool(await conn.fetchval("SELECT EXISTS (SELECT FROM participants WHERE user_id = $1)", user))


async def test_what_was_accepted_first_is_delivered_first(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection
) -> None:
    """Of two sends to one thread the older one opens it, though nothing would be wrong with the other order."""
    own = {"group_conversation": False, "context_code": f"course_{school.course}"}
    older, _ = await send("First", **own), await send("Second", **own)
    assert await unread(school.students[0]) == "1"
    opened_by = "SELECT DISTINCT b.id FROM conversations c JOIN batches b ON b.send_id = c.send_id"
    assert [row["id"] for row in await conn.fetch(opened_by)] == [older]
    assert await conn.fetchval("SELECT count(*) FROM messages") == 100


async def test_who_is_no_recipient_has_nothing_delivered(
    send: SendToAll, unread: Read, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    """One beside them, and one between them who is left out."""
    left_out = school.students[50]
    await conn.execute("UPDATE enrollments SET workflow_state = 'deleted' WHERE user_id = $1", left_out)
    await send()
    for user in (left_out, school.teacher, await institution.user("Outsider")):
        assert await unread(user) == "0"
    assert await states(conn) == ["pending"] * 3


async def test_acting_as_a_recipient_has_the_recipients_message_delivered(
    send: SendToAll, client: aiohttp.ClientSession, token: Token, school: School, institution: Institution
) -> None:
    administrator = await institution.user("Administrator")
    await institution.admin(administrator)
    await send()
    path = f"/conversations/unread_count?as_user_id={school.students[3]}"
    assert await call(client, await token(administrator), "GET", path) == {"unread_count": "1"}


async def test_a_masquerading_recipient_has_nothing_of_their_own_delivered(
    *,
    send: SendToAll,
    client: aiohttp.ClientSession,
    token: Token,
    school: School,
    institution: Institution,
    conn: asyncpg.Connection,
) -> None:
    await institution.admin(school.students[0])
    await send()
    path = f"/conversations/unread_count?as_user_id={school.teacher}"
    assert await call(client, await token(school.students[0]), "GET", path) == {"unread_count": "0"}
    assert await states(conn) == ["pending"] * 3


@pytest.mark.parametrize("state", ["scheduled", "paused", "cancelled"])
async def test_a_batch_that_does_not_run_is_left_alone(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection, state: str
) -> None:
    await send()
    await conn.execute("UPDATE batches SET state = $1", state)
    assert await unread(school.students[0]) == "0"
    assert await states(conn) == ["pending"] * 3
    await conn.execute("UPDATE batches SET state = 'sending'")
    assert await unread(school.students[0]) == "1"


@asynccontextmanager
async def held(url: str, statement: str) -> AsyncIterator[None]:
    """What the statement locks is locked meanwhile."""
    holder = await asyncpg.connect(url)
    try:
        async with holder.transaction():
            await holder.execute(statement)
            yield
    finally:
        await holder.close()


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT FROM chunks FOR UPDATE",
        "SELECT FROM batches FOR UPDATE",
        "LOCK TABLE batches IN SHARE ROW EXCLUSIVE MODE",
    ],
)
async def test_a_chunk_that_others_hold_does_not_keep_a_reader(
    *,
    send: SendToAll,
    unread: Read,
    school: School,
    conn: asyncpg.Connection,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
    statement: str,
) -> None:
    """A worker that is frozen, or a merge of accounts."""
    monkeypatch.setattr(locks, "LONGEST_WAIT", timedelta(milliseconds=50))
    await send()
    async with held(database_url, statement):
        assert await unread(school.students[0]) == "0"
    assert await conn.fetchval("SELECT sum(attempts) FROM chunks") == 0
    monkeypatch.undo()
    assert await unread(school.students[0]) == "1"


async def test_a_reader_waits_for_who_is_delivering_the_chunk(
    *,
    send: SendToAll,
    client: aiohttp.ClientSession,
    token: Token,
    school: School,
    conn: asyncpg.Connection,
    database_url: str,
) -> None:
    """A worker has it in work: the reader has the message when that one is through."""
    await send()
    headers = await token(school.students[0])
    async with held(database_url, "SELECT FROM chunks FOR UPDATE"):
        reader = asyncio.create_task(call(client, headers, "GET", "/conversations/unread_count"))
        await until(lambda: conn.fetchval(BLOCKED))
    assert await reader == {"unread_count": "1"}


async def test_a_reader_whose_time_is_up_is_answered_without_it(
    send: SendToAll, unread: Read, school: School, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the delivery goes on."""
    monkeypatch.setattr(waits, "PATIENCE", 0.05)
    await send()
    async with held(database_url, "SELECT FROM chunks FOR UPDATE"):
        assert await unread(school.students[0]) == "0"
    await until(lambda: _sees(unread, school.students[0]))


async def _sees(unread: Read, user: int) -> bool:
    return await unread(user) == "1"


async def test_who_cannot_be_written_to_keeps_no_other_from_the_message(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection
) -> None:
    """However many recipients read, that one has one attempt, and is left to the workers then."""
    await send()
    culprit = school.students[3]
    others = [student for student in school.students if student != culprit]

    async with refused(conn, f"NEW.user_id = {culprit}"):
        seen = [await unread(student) for student in (others[0], culprit, *others)]

    assert seen == ["1", "0", *["1"] * len(others)]

    (left,) = await conn.fetch(
        "SELECT recipients, state, attempts, error, due_at > now() AS later FROM chunks WHERE state <> 'delivered'"
    )
    assert (left["recipients"], left["state"], left["attempts"], left["later"]) == ([culprit], "pending", 1, True)
    assert f"user {culprit} is refused" in left["error"]


async def test_where_nothing_can_be_written_a_reader_does_not_try_for_ever(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection
) -> None:
    """What is left of a chunk then is the workers', and no other reader tries it."""
    await send()
    async with refused(conn, "true"):
        assert await unread(school.students[0]) == "0"
        cut = await conn.fetch("SELECT position, attempts FROM chunks ORDER BY position")
        assert await unread(school.students[0]) == "0"
        assert await conn.fetch("SELECT position, attempts FROM chunks ORDER BY position") == cut

    assert len(cut) == 3 + MOST_CUTS
    assert [row["attempts"] for row in cut if row["position"] in (0, *range(3, len(cut)))] == [1] * (1 + MOST_CUTS)


@pytest.mark.parametrize("counted", ["attempts", "redeliveries"])
async def test_a_chunk_that_workers_failed_at_is_theirs(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection, counted: str
) -> None:
    await send()
    await conn.execute(f"UPDATE chunks SET {counted} = 1 WHERE position = 0")
    assert await unread(school.students[0]) == "0"
    assert (await states(conn))[0] == "pending"


@pytest.mark.parametrize("slice_size", [100, 30])
async def test_a_thousand_readers_of_one_chunk_deliver_it_once(
    *,
    slice_size: int,
    monkeypatch: pytest.MonkeyPatch,
    edge_settings: Settings,
    broker: Publisher,
    database_url: str,
    serve: Callable[[web.Application], Awaitable[aiohttp.ClientSession]],
    send: SendToAll,
    school: School,
    token: Token,
    conn: asyncpg.Connection,
) -> None:
    """At two gateways, all at once; each of them sees the message. Or each part of it once, where it is cut."""
    monkeypatch.setattr(locks, "SLICE", slice_size)
    monkeypatch.setattr(locks, "WHOLE", slice_size)
    parts = -(-100 // slice_size)
    batch_id = await send()
    pools = [await asyncpg.create_pool(database_url, min_size=0, max_size=8) for _ in range(2)]
    clients = [await serve(build_app(edge_settings, pool, broker)) for pool in pools]
    before = delivered()
    tokens = [await token(student) for student in school.students[:100]]

    async def read(number: int) -> Any:
        path = ("/conversations/unread_count", "/conversations?per_page=1")[number % 2]
        client, headers = clients[number // 2 % 2], tokens[number // 10]
        # A gateway lets so many wait for its database at once.
        async with places[number // 2 % 2]:
            return await call(client, headers, "GET", path)

    places = [asyncio.Semaphore(100) for _ in clients]
    answers = await asyncio.gather(*map(read, random.Random(5).sample(range(1000), 1000)))

    assert all(a == {"unread_count": "1"} if isinstance(a, dict) else len(a) == 1 for a in answers)
    assert await states(conn) == ["delivered", "pending", "pending", *["delivered"] * (parts - 1)]
    assert delivered() - before == parts
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 100
    assert await conn.fetchval("SELECT count(*) FROM outbox WHERE batch_id = $1", batch_id) == parts
    for pool in pools:
        await pool.close()


def delivered() -> float:
    """Chunks that this process counts as delivered for a reader."""
    return sum(
        float(line.split()[1])
        for line in generate_latest(metrics.API).decode().splitlines()
        if line.startswith("clarion_chunks_delivered_early_total")
    )


@pytest.mark.parametrize("seed", range(3))
async def test_readers_and_workers_deliver_two_sends_to_the_same_threads_between_them(
    *,
    send: SendToAll,
    client: aiohttp.ClientSession,
    token: Token,
    school: School,
    conn: asyncpg.Connection,
    settings: Settings,
    pool: asyncpg.Pool,
    seed: int,
) -> None:
    """Whoever comes first: a read has both messages, a person has each of them once, and a thread the first subject."""
    own = {"group_conversation": False, "context_code": f"course_{school.course}"}
    batches = [await send("First", **own), await send("Second", **own)]
    chance = random.Random(seed)
    commands = [DeliverChunk(batch_id=batch_id, position=n) for batch_id in batches for n in range(3)]
    readers = chance.sample(school.students, 40)
    tokens = [await token(student) for student in readers]
    workers = [Deliverer(settings, pool) for _ in range(2)]
    chance.shuffle(commands)

    async def read(headers: dict[str, str]) -> Any:
        return await call(client, headers, "GET", "/conversations")

    work = [worker.handle(command) for command, worker in zip(commands, itertools.cycle(workers), strict=False)]
    listed, outcomes = await asyncio.gather(asyncio.gather(*map(read, tokens)), asyncio.gather(*work))

    assert outcomes == [Done()] * 6
    for threads in listed:
        assert [(each["subject"], each["message_count"], each["last_message"]) for each in threads] == [
            ("First", 2, "Second")
        ]
    for batch_id in batches:
        await assert_delivered_once(conn, batch_id, school.students)


async def test_events_and_counters_are_those_of_a_worker(
    *,
    send: SendToAll,
    unread: Read,
    school: School,
    conn: asyncpg.Connection,
    edge_settings: Settings,
    pool: asyncpg.Pool,
) -> None:
    """They are recorded with the delivery, and go out as soon as a relay runs."""
    batch_id = await send()
    for student in (school.students[0], school.students[100], school.students[200]):
        assert await unread(student) == "1"
    causes = await conn.fetch("SELECT cause::text FROM outbox WHERE event = 'delivered' ORDER BY position")
    assert [f'"job_id": "deliver.{batch_id}.{n}"' in row["cause"] for n, row in enumerate(causes)] == [True] * 3
    async with event_consumer(edge_settings) as consumer:
        relay = Relay(edge_settings, pool)
        await relay.start()
        await until(lambda: relay.connected)
        work = asyncio.create_task(relay.run())
        await until(lambda: conn.fetchval("SELECT NOT EXISTS (SELECT FROM outbox)"))
        await until(lambda: len(consumer.received) == expected_events(school.students))
        relay.stop()
        await work
        await relay.drain()
    names = [each.event.name for each in consumer.received]
    assert names.count("batch_started") == names.count("batch_finished") == 1
    assert names.count("conversation_created") == names.count("conversation_message_created") == len(school.students)


def expected_events(students: Sequence[int]) -> int:
    """Two for each recipient; the batch's beginning, two steps and its end."""
    return 2 * len(students) + 4
