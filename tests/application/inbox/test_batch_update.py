"""Batch updates, each in one transaction (canvas/endpoints.md 4.11, semantics.md 10)."""

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from service.application.inbox import batch_update
from service.domain.batch_updates import MISSING, ProgressState
from service.domain.errors import Code, Refusal
from service.domain.participant import Event
from sql import batch_updates
from sql.batch_updates import Progress
from sql.connection import Connection
from tests.support.conversations import Threads
from tests.support.institution import Institution
from tests.support.participants import all_of_others, participant_row
from tests.support.waiting import until

PATIENCE = timedelta(hours=1)


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return await institution.users(3)


async def accept(conn: asyncpg.Connection, user: int, ids: Sequence[object], event: Event) -> int:
    return (await batch_update.accept(conn, user, [str(id_) for id_ in ids], event)).id


async def finish(conn: Connection, progress: int) -> ProgressState | None:
    async with conn.transaction():
        return await batch_update.carry_out(conn, progress)


async def finished(conn: Connection, progress: int) -> Progress:
    await finish(conn, progress)
    return await look(conn, progress)


async def begun_by_an_earlier_release(conn: Connection, progress: int, *, done: int, refused: list[int]) -> None:
    """It worked slice by slice: so many are dealt with, among them the refused at these positions."""
    await conn.execute(
        "UPDATE batch_updates SET state = 'running', done = $2, refused = $3, due_at = now() + interval '1 hour'"
        " WHERE id = $1",
        progress,
        done,
        refused,
    )


async def look(conn: Connection, progress: int) -> Progress:
    found = await batch_updates.find_progress(conn, progress)
    assert found is not None
    return found


class TestValidation:
    @pytest.mark.parametrize(
        ("ids", "event", "message"),
        [
            (None, None, "conversation_ids not specified"),
            ([1] * 501, None, "conversation batch size limit (500) exceeded"),
            ([1], None, "event not specified"),
            ([], "explode", "invalid event"),
            ([1], "", "invalid event"),
        ],
    )
    def test_in_order(self, ids: list[Any] | None, event: str | None, message: str) -> None:
        with pytest.raises(Refusal) as refused:
            batch_update.validate(ids, event)
        assert (refused.value.code, refused.value.message) == (Code.INVALID_BATCH_UPDATE, message)

    def test_keeps_what_is_no_id_for_the_final_message(self) -> None:
        assert batch_update.validate(["7", 8, "wat", "x" * 999], "star") == (["7", "8", "wat", "x" * 64], Event.STAR)


async def test_is_done_as_a_whole(conn: asyncpg.Connection, threads: Threads, people: list[int]) -> None:
    me, ann, _ = people
    made = [await threads.private(ann, me) for _ in range(10)]
    before = await all_of_others(conn, me)
    progress = await accept(conn, me, made, Event.ARCHIVE)

    assert [await finish(conn, progress) for _ in range(2)] == ["completed", None]

    found = await look(conn, progress)
    assert (found.done, found.message) == (10, "10 conversations processed")
    assert found.updated_at > found.created_at
    assert all([(await participant_row(conn, m, me))["archived"] for m in made])
    assert await all_of_others(conn, me) == before


async def test_no_reader_sees_a_part_of_it(
    conn: asyncpg.Connection, pool: asyncpg.Pool, threads: Threads, people: list[int]
) -> None:
    me, ann, _ = people
    made = [await threads.private(ann, me) for _ in range(9)]
    progress = await accept(conn, me, made, Event.STAR)

    async with pool.acquire() as own, own.transaction():
        await batch_update.carry_out(own, progress)
        assert [(await participant_row(conn, m, me))["starred"] for m in made] == [False] * 9
        assert (await look(conn, progress)).state is ProgressState.QUEUED

    assert [(await participant_row(conn, m, me))["starred"] for m in made] == [True] * 9
    assert (await look(conn, progress)).state is ProgressState.COMPLETED


async def test_fails_in_part(conn: asyncpg.Connection, threads: Threads, people: list[int]) -> None:
    me, ann, ben = people
    own, foreign = await threads.private(ann, me), await threads.private(ann, ben)
    progress = await accept(conn, me, [foreign, own, "wat", 2**70, own, "-1", "²", "٣", 12], Event.STAR)

    found = await finished(conn, progress)

    assert found.state is ProgressState.COMPLETED
    assert found.message == f"2 conversations processed\n{MISSING}: {foreign}, wat, {2**70}, -1, ², ٣, 12"
    assert (await participant_row(conn, own, me))["starred"]
    assert not (await participant_row(conn, foreign, ben))["starred"]


@pytest.mark.parametrize("ids", [[12, 13], []])
async def test_fails_when_nothing_succeeded(conn: asyncpg.Connection, people: list[int], ids: list[int]) -> None:
    found = await finished(conn, await accept(conn, people[0], ids, Event.STAR))

    assert found.state is ProgressState.FAILED
    assert (found.message or "").startswith("0 conversations processed")
    assert batch_update.present_progress(found, "")["completion"] == 100.0


async def test_counts_deleted_conversations_as_successes(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    me, ann, _ = people
    made = await threads.private(ann, me)
    await threads.delete(made, me)

    found = await finished(conn, await accept(conn, me, [made], Event.ARCHIVE))

    assert found.message == "1 conversation processed"
    assert (await participant_row(conn, made, me))["archived"]


async def test_destroying_is_deleting(conn: asyncpg.Connection, threads: Threads, people: list[int]) -> None:
    me, ann, _ = people
    made = await threads.private(ann, me, tags=["course_1"])
    await threads.reply(made, ann)
    before = await all_of_others(conn, me)

    done = await finished(conn, await accept(conn, me, [made, made], Event.DESTROY))

    after = await participant_row(conn, made, me)
    assert (after["message_count"], after["last_message_at"], after["unread"], after["codes"]) == (0, None, False, [])
    assert done.message == "2 conversations processed"
    assert await all_of_others(conn, me) == before


async def test_a_second_command_finds_nothing_to_do(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    """What the user did afterwards is not undone."""
    me, ann, _ = people
    made = await threads.private(ann, me)
    progress = await accept(conn, me, [made], Event.ARCHIVE)
    done = await finished(conn, progress)
    await threads.update(made, me, archived=False)

    assert await finish(conn, progress) is None
    assert not (await participant_row(conn, made, me))["archived"]
    assert await look(conn, progress) == done


async def test_what_was_cancelled_before_it_began_is_not_begun(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    me, ann, _ = people
    made = await threads.private(ann, me)
    progress = await accept(conn, me, [made], Event.STAR)

    cancelled = await batch_update.cancel(conn, me, progress, "enough")

    assert (cancelled.state, cancelled.message, cancelled.done) == (ProgressState.FAILED, "enough", 0)
    assert await finish(conn, progress) is None
    assert not (await participant_row(conn, made, me))["starred"]
    assert await look(conn, progress) == cancelled


async def test_a_worker_waits_for_who_is_cancelling(
    conn: asyncpg.Connection, pool: asyncpg.Pool, threads: Threads, people: list[int]
) -> None:
    """The transaction that writes is the one that looks whether it still may."""
    me, ann, _ = people
    made = await threads.private(ann, me)
    progress = await accept(conn, me, [made], Event.STAR)

    async with pool.acquire() as own, pool.acquire() as worker:
        async with own.transaction():
            await batch_update.cancel(own, me, progress, None)
            working = asyncio.create_task(finish(worker, progress))
            await until_waiting(conn)
        assert await working is None
    assert not (await participant_row(conn, made, me))["starred"]


async def test_cancelling_waits_for_the_worker_and_has_the_last_word(
    conn: asyncpg.Connection, pool: asyncpg.Pool, threads: Threads, people: list[int]
) -> None:
    me, ann, _ = people
    made = await threads.private(ann, me)
    progress = await accept(conn, me, [made], Event.STAR)

    async with pool.acquire() as own, pool.acquire() as worker:
        async with worker.transaction():
            await batch_update.carry_out(worker, progress)
            cancelling = asyncio.create_task(batch_update.cancel(own, me, progress, "late"))
            await until_waiting(conn)
        cancelled = await cancelling
    assert (cancelled.state, cancelled.message) == (ProgressState.FAILED, "late")
    assert batch_update.present_progress(cancelled, "")["completion"] == 100.0
    assert (await participant_row(conn, made, me))["starred"]


async def until_waiting(conn: asyncpg.Connection) -> None:
    """Returns when a backend waits for a lock in this database."""

    async def waiting() -> bool:
        found: bool = await conn.fetchval(
            "SELECT EXISTS (SELECT FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock')"
        )
        return found

    await until(waiting)


async def test_an_update_that_is_rolled_back_is_done_again(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    me, ann, _ = people
    made = await threads.private(ann, me)
    progress = await accept(conn, me, [made], Event.STAR)
    transaction = conn.transaction()
    await transaction.start()
    await batch_update.carry_out(conn, progress)
    await transaction.rollback()

    assert (await look(conn, progress)).state is ProgressState.QUEUED
    assert not (await participant_row(conn, made, me))["starred"]
    assert (await finished(conn, progress)).message == "1 conversation processed"


async def test_of_workers_that_meet_one_does_it(
    conn: asyncpg.Connection, pool: asyncpg.Pool, threads: Threads, people: list[int]
) -> None:
    me, ann, _ = people
    made = [await threads.private(ann, me) for _ in range(40)]
    progress = await accept(conn, me, [*made, 12], Event.MARK_AS_READ)

    async def work() -> ProgressState | None:
        async with pool.acquire() as own:
            return await finish(own, progress)

    ends = await asyncio.gather(*(work() for _ in range(4)))

    assert ends.count(ProgressState.COMPLETED) == 1
    assert ends.count(None) == 3
    found = await look(conn, progress)
    assert (found.done, found.message) == (41, f"40 conversations processed\n{MISSING}: 12")


async def test_what_an_earlier_release_has_begun_is_gone_on_with(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    """Its slices are not done again: what the user did to those conversations afterwards stays."""
    me, ann, _ = people
    made = [await threads.private(ann, me) for _ in range(6)]
    progress = await accept(conn, me, [made[0], 12, *made[1:4], "wat", *made[4:]], Event.ARCHIVE)
    await begun_by_an_earlier_release(conn, progress, done=4, refused=[1])

    found = await finished(conn, progress)

    assert (found.state, found.done) == (ProgressState.COMPLETED, 8)
    assert found.message == f"6 conversations processed\n{MISSING}: 12, wat"
    assert [(await participant_row(conn, m, me))["archived"] for m in made] == [False] * 3 + [True] * 3


async def test_what_is_left_of_one_may_all_fail(conn: asyncpg.Connection, people: list[int]) -> None:
    progress = await accept(conn, people[0], range(12, 20), Event.STAR)
    await begun_by_an_earlier_release(conn, progress, done=4, refused=[0, 1, 2, 3])

    found = await finished(conn, progress)

    assert found.state is ProgressState.FAILED
    assert found.message == f"0 conversations processed\n{MISSING}: 12, 13, 14, 15, 16, 17, 18, 19"


async def test_the_sweeper_finds_what_no_worker_is_at(conn: asyncpg.Connection, people: list[int]) -> None:
    me, *_ = people
    waiting, stalled, done, cancelled = [await accept(conn, me, range(12, 22), Event.STAR) for _ in range(4)]
    await begun_by_an_earlier_release(conn, stalled, done=4, refused=[0, 1, 2, 3])
    await finish(conn, done)
    await batch_update.cancel(conn, me, cancelled, None)

    async def due_in(minutes: int) -> list[int]:
        """What a sweep takes when so much more time has passed."""
        await conn.execute("UPDATE batch_updates SET due_at = due_at - $1::interval", timedelta(minutes=minutes))
        due = await batch_updates.take_due_progresses(conn, patience=PATIENCE, limit=10)
        return sorted(id_ for id_, _ in due)

    due = "UPDATE batch_updates SET due_at = due_at + interval '10 min' WHERE id = $1 RETURNING due_at - created_at"
    assert await conn.fetchval(due, waiting) == batch_update.UNSTARTED_AFTER + timedelta(minutes=10)
    assert await due_in(0) == []
    assert await due_in(11) == [waiting]
    assert await due_in(0) == []
    assert await due_in(120) == [waiting, stalled]


async def test_the_sweeper_leaves_alone_what_is_being_done(
    conn: asyncpg.Connection, pool: asyncpg.Pool, people: list[int]
) -> None:
    progress = await accept(conn, people[0], [12], Event.STAR)
    await conn.execute("UPDATE batch_updates SET due_at = now()")

    async with pool.acquire() as own, own.transaction():
        await batch_update.carry_out(own, progress)
        assert await batch_updates.take_due_progresses(conn, patience=PATIENCE, limit=10) == []
