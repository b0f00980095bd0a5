"""What can never be handled: it is put away with its reason and holds up nothing."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.support.broker import broker_client
from tests.support.fault_environment import FaultEnvironment

GARBAGE = {
    b"\x00\xff\xfe garbage": "is no JSON",
    b"": "is no JSON",
    b"[" * 100_000: "is no JSON",
    b'"\\ud800"': "is no JSON",
    b"null": "body: ",
    b'{"name": "deliver", "version": 2, "batch_id": 1, "position": 0}': "version",
    b'{"name": "deliver", "version": 1, "batch_id": 9223372036854775808, "position": 0}': "batch_id",
    b'{"name": "deliver", "version": 1}': "batch_id",
    b'{"name": "explode", "version": 1}': "explode",
    b'{"name": "plan", "version": 1, "batch_id": 1}': "plan among commands to deliver",
    b'{"name": "deliver", "version": 1, "batch_id": 4711, "position": 0}': "no such chunk",
}


async def test_what_is_no_command_goes_to_the_dead_letters_with_its_reason(there: FaultEnvironment) -> None:
    await there.running.api()
    await there.running.worker()

    async with broker_client(there.running.settings) as client:
        for body in GARBAGE:
            await client.publish(body)
        await there.send(there.bulk())
        letters = await client.dead_letters(len(GARBAGE))

        assert {letter.body for letter in letters} == GARBAGE.keys()
        for letter in letters:
            assert GARBAGE[letter.body] in letter.reason
            assert len(letter.reason) < 1000
        await there.assert_all_sent()


@asynccontextmanager
async def refused(there: FaultEnvironment, user_id: int, message: str) -> AsyncIterator[None]:
    """Meanwhile the database takes no participant row of that user, and notes by its clock when a chunk failed."""
    async with there.look() as conn:
        await conn.execute(
            f"""
            CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE EXCEPTION '%', '{message}'; END $$;
            CREATE TRIGGER refuse BEFORE INSERT ON participants FOR EACH ROW
                WHEN (NEW.user_id = {user_id}) EXECUTE FUNCTION refuse();
            CREATE TABLE tries (attempts integer, tried_at timestamptz);
            CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO tries VALUES (NEW.attempts, NEW.tried_at); RETURN NULL; END $$;
            CREATE TRIGGER note AFTER UPDATE ON chunks FOR EACH ROW
                WHEN (NEW.tried_at > coalesce(OLD.tried_at, '-infinity')) EXECUTE FUNCTION note();
            """
        )
    try:
        yield
    finally:
        async with there.look() as conn:
            # One after the other: each locks a table, and the worker both.
            for what in ("FUNCTION refuse", "FUNCTION note", "TABLE tries"):
                await conn.execute(f"DROP {what} CASCADE")


@pytest.mark.parametrize("message", ["the disk says no", "x" * 300_000], ids=["short", "longer than a frame"])
async def test_who_cannot_be_written_to_is_given_up_alone(there: FaultEnvironment, message: str) -> None:
    """After attempts ever further apart; all others have long had theirs, those of the same chunk as well."""
    there.running.settings = there.running.settings.model_copy(update={"retry_after": 0.2, "sweep_interval": 0.05})
    await there.running.api()
    worker = await there.running.worker()
    students = there.school.students

    async with refused(there, students[0], message), broker_client(there.running.settings) as client:
        batch_id = await there.send(there.bulk())
        (letter,) = await client.dead_letters(1)
        async with there.look() as conn:
            tries = await conn.fetch("SELECT attempts, tried_at FROM tries ORDER BY tried_at")

    command = json.loads(letter.body)
    assert (command["name"], command["batch_id"], command["position"]) == ("deliver", batch_id, 0)
    assert letter.reason.startswith(f"RaiseError: {message}"[:1000])
    await there.until("SELECT state = 'error' FROM batches WHERE id = $1", batch_id)
    async with there.look() as conn:
        batch = await conn.fetchrow("SELECT * FROM batches WHERE id = $1", batch_id)
        assert batch is not None
        assert (batch["state"], batch["failed"], batch["delivered"]) == ("error", 1, len(students) - 1)
        assert batch["finished_at"] is not None
        chunk = await conn.fetchrow("SELECT * FROM chunks WHERE batch_id = $1 AND state <> 'delivered'", batch_id)
        assert chunk is not None
        assert (chunk["state"], chunk["attempts"], chunk["position"]) == ("failed", 5, 0)
        assert chunk["recipients"] == students[:1]
        assert chunk["error"].startswith("RaiseError: ")
        reached = await conn.fetch("SELECT DISTINCT user_id FROM participants WHERE last_message_at IS NOT NULL")
        assert sorted(row["user_id"] for row in reached) == students[1:]
    failures = {row["attempts"]: row["tried_at"] for row in tries}  # of each the last: it was cut before
    waits = [(failures[attempt + 1] - failures[attempt]).total_seconds() for attempt in range(1, 5)]
    assert all(wait >= 0.2 * 2**number for number, wait in enumerate(waits))
    others = [number for number, line in enumerate(worker.lines) if "chunk_delivered" in line]
    assert max(others) < next(number for number, line in enumerate(worker.lines) if "dead_lettered" in line)
