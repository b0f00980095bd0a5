"""Sends that meet: no request gets an error, and every pair of people keeps one thread."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest

from service.runtime.settings import Settings
from tests.support.bulk_send_invariants import assert_delivered_once
from tests.support.fault_environment import FaultEnvironment, logged

GATE = 7_206_110_512_099  # of an advisory lock


@pytest.fixture
def small(small: Settings) -> Settings:
    """Chunks of 30."""
    return small.model_copy(update={"chunk_size": 30})


async def tags_are_known(there: FaultEnvironment) -> None:
    """Sends that are the first to use their tags wait for each other there, and would meet nowhere else."""
    await there.send(there.bulk())
    await there.assert_all_sent()


@asynccontextmanager
async def slow_threads(there: FaultEnvironment, seconds: float = 0.05) -> AsyncIterator[None]:
    """Meanwhile a transaction that opens threads holds them unseen for a while, so that sends do meet."""
    async with there.look() as conn:
        await conn.execute(
            f"""
            CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END $$;
            CREATE TRIGGER linger AFTER INSERT ON conversations FOR EACH STATEMENT EXECUTE FUNCTION linger();
            """
        )
    try:
        yield
    finally:
        async with there.look() as conn:
            await conn.execute("DROP FUNCTION linger() CASCADE")


@asynccontextmanager
async def conflict(there: FaultEnvironment) -> AsyncIterator[None]:
    """Holds the transactions that open conversations, unseen, until one waits for another; then lets all go on."""
    async with there.look() as gate:
        await gate.execute(
            f"""
            CREATE FUNCTION wait_at_gate() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN PERFORM pg_advisory_xact_lock_shared({GATE}); RETURN NULL; END $$;
            CREATE TRIGGER wait_at_gate AFTER INSERT ON conversations
            FOR EACH STATEMENT EXECUTE FUNCTION wait_at_gate();
            """
        )
        await gate.execute("SELECT pg_advisory_lock($1)", GATE)
        opening = asyncio.create_task(_open(there, gate))
        yield
        await opening
        await gate.execute("DROP FUNCTION wait_at_gate() CASCADE")


async def _open(there: FaultEnvironment, gate: asyncpg.Connection) -> None:
    await there.until(
        "SELECT count(*) FILTER (WHERE wait_event = 'transactionid') > 0 FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    await gate.execute("SELECT pg_advisory_unlock($1)", GATE)


async def threads(there: FaultEnvironment) -> tuple[int, int]:
    """(private threads, pairs of people who have one)"""
    async with there.look() as conn:
        rows = await conn.fetch(
            "SELECT user_id, private_peer_id, count(*) AS threads FROM participants"
            " WHERE private_peer_id IS NOT NULL GROUP BY user_id, private_peer_id"
        )
        return sum(row["threads"] for row in rows), len(rows)


async def test_two_bulk_sends_to_the_same_people_share_their_threads(there: FaultEnvironment) -> None:
    """One chunk each, so that they are in work at the same time."""
    there.running.settings = there.running.settings.model_copy(update={"chunk_size": 1000})
    await there.running.api()
    workers = [await there.running.worker(), await there.running.worker()]
    await tags_are_known(there)

    async with conflict(there):
        await asyncio.gather(*(there.send(there.private()) for _ in range(2)))
        await there.assert_all_sent()

    people = len(there.school.students)
    assert await threads(there) == (people, people)
    async with there.look() as conn:
        assert await conn.fetchval("SELECT count(*) FROM messages") == people
        assert await conn.fetchval("SELECT count(*) FROM chunks WHERE attempts > 0") == 0
    assert any(logged(worker, "threads_contended") for worker in workers)


async def test_two_people_who_write_to_all_meet_in_the_thread_between_them(there: FaultEnvironment) -> None:
    """A's send reaches B while B's reaches A, several times over."""
    one, other = there.school.students[:2]
    async with there.look() as conn:
        await conn.execute(
            "UPDATE enrollments SET type = 'TaEnrollment' WHERE user_id = ANY ($1::bigint[])", [one, other]
        )
    await there.running.api()
    await there.running.worker()
    await there.running.worker()
    await tags_are_known(there)
    clients = [await there.client(one), await there.client(other)]

    async with slow_threads(there):
        answers = await asyncio.gather(
            *(client.call("POST", "/conversations", json=there.private()) for client in clients * 3)
        )
        assert {status for status, _, _ in answers} == {202}
        await there.until("SELECT count(*) = 7 FROM batches WHERE state = 'sent'")

    async with there.look() as conn:
        for number, (_, _, headers) in enumerate(answers):
            author = (one, other)[number % 2]
            everybody = sorted({*there.school.students, there.school.teacher} - {author})
            await assert_delivered_once(conn, int(headers["X-Conversation-Batch-Id"]), everybody)
    found, pairs = await threads(there)
    assert found == pairs == 2 * len(there.school.students) - 1


async def test_requests_that_race_for_one_thread_all_succeed(there: FaultEnvironment) -> None:
    """Both ways between two people, at once, over HTTP."""
    gateway = await there.running.api()
    await there.running.worker()
    await tags_are_known(there)
    teacher, student = there.school.teacher, there.school.students[0]
    clients = {await there.client(teacher): student, await there.client(student): teacher}

    async with conflict(there):
        answers = await asyncio.gather(
            *(
                client.call("POST", "/conversations", json={"recipients": [str(to)], "body": f"Hello {number}"})
                for number in range(6)
                for client, to in clients.items()
            )
        )

    assert {status for status, _, _ in answers} == {201}
    assert len({answer[0]["id"] for _, answer, _ in answers}) == 1
    assert await threads(there) == (1, 1)
    async with there.look() as conn:
        counts = await conn.fetch(
            "SELECT message_count FROM participants WHERE conversation_id IN"
            " (SELECT conversation_id FROM participants WHERE private_peer_id IS NOT NULL)"
        )
        assert [row["message_count"] for row in counts] == [12, 12]
        assert await conn.fetchval("SELECT count(*) FROM messages") == 11
    assert logged(gateway, "rows_contended")
