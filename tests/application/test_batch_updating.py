"""Batch updates, slice by slice (canvas/endpoints.md 4.11, semantics.md 10)."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from service.application import batch_updating
from service.domain.batch_updates import MISSING, ProgressState
from service.domain.errors import Code, Refusal
from service.domain.views import Event
from sql import progress as rows
from sql.connection import Connection
from sql.progress import Progress
from tests.institution import Institution
from tests.thread import Threads
from tests.views import all_of_others, view

PATIENCE = timedelta(seconds=30)


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return await institution.users(3)


async def accept(conn: asyncpg.Connection, user: int, ids: Sequence[object], event: Event) -> int:
    return (await batch_updating.accept(conn, user, [str(id_) for id_ in ids], event)).id


async def advance(conn: Connection, progress: int) -> ProgressState | None:
    async with conn.transaction():
        return await batch_updating.advance(conn, progress, patience=PATIENCE)


async def finish(conn: Connection, progress: int) -> Progress:
    while await advance(conn, progress) is ProgressState.RUNNING:
        pass
    return await look(conn, progress)


async def look(conn: Connection, progress: int) -> Progress:
    found = await rows.find_progress(conn, progress)
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
            batch_updating.validate(ids, event)
        assert (refused.value.code, refused.value.message) == (Code.INVALID_BATCH_UPDATE, message)

    def test_keeps_what_is_no_id_for_the_final_message(self) -> None:
        assert batch_updating.validate(["7", 8, "wat", "x" * 999], "star") == (["7", "8", "wat", "x" * 64], Event.STAR)


async def test_goes_forward_slice_by_slice(conn: asyncpg.Connection, threads: Threads, people: list[int]) -> None:
    me, ann, _ = people
    made = [await threads.private(ann, me) for _ in range(10)]
    before = await all_of_others(conn, me)
    progress = await accept(conn, me, made, Event.ARCHIVE)

    seen = [(await advance(conn, progress), (await look(conn, progress)).done) for _ in range(4)]

    assert seen == [("running", 4), ("running", 8), ("completed", 10), (None, 10)]
    assert (await look(conn, progress)).message == "10 conversations processed"
    assert all([(await view(conn, m, me))["archived"] for m in made])
    assert await all_of_others(conn, me) == before


async def test_fails_in_part(conn: asyncpg.Connection, threads: Threads, people: list[int]) -> None:
    me, ann, ben = people
    own, foreign = await threads.private(ann, me), await threads.private(ann, ben)
    progress = await accept(conn, me, [foreign, own, "wat", 2**70, own, "-1", 12], Event.STAR)

    found = await finish(conn, progress)

    assert found.state is ProgressState.COMPLETED
    assert found.message == f"2 conversations processed\n{MISSING}: {foreign}, wat, {2**70}, -1, 12"
    assert (await view(conn, own, me))["starred"]
    assert not (await view(conn, foreign, ben))["starred"]


@pytest.mark.parametrize("ids", [[12, 13], []])
async def test_fails_when_nothing_succeeded(conn: asyncpg.Connection, people: list[int], ids: list[int]) -> None:
    found = await finish(conn, await accept(conn, people[0], ids, Event.STAR))

    assert found.state is ProgressState.FAILED
    assert (found.message or "").startswith("0 conversations processed")
    assert batch_updating.present_progress(found, "")["completion"] == 100.0


async def test_counts_deleted_conversations_as_successes(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    me, ann, _ = people
    made = await threads.private(ann, me)
    await threads.delete(made, me)

    found = await finish(conn, await accept(conn, me, [made], Event.ARCHIVE))

    assert found.message == "1 conversation processed"
    assert (await view(conn, made, me))["archived"]


async def test_destroying_is_deleting(conn: asyncpg.Connection, threads: Threads, people: list[int]) -> None:
    me, ann, _ = people
    made = await threads.private(ann, me, tags=["course_1"])
    await threads.reply(made, ann)
    before = await all_of_others(conn, me)

    await finish(conn, await accept(conn, me, [made, made], Event.DESTROY))

    after = await view(conn, made, me)
    assert (after["message_count"], after["last_message_at"], after["unread"], after["tags"]) == (0, None, False, [])
    assert await all_of_others(conn, me) == before


async def test_a_second_command_finds_nothing_to_do(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    """What the user did afterwards is not undone."""
    me, ann, _ = people
    made = await threads.private(ann, me)
    progress = await accept(conn, me, [made], Event.ARCHIVE)
    done = await finish(conn, progress)
    await threads.update(made, me, archived=False)

    assert await advance(conn, progress) is None
    assert not (await view(conn, made, me))["archived"]
    assert await look(conn, progress) == done


async def test_cancelling_stops_it_where_it_is(conn: asyncpg.Connection, threads: Threads, people: list[int]) -> None:
    me, ann, _ = people
    made = [await threads.private(ann, me) for _ in range(6)]
    progress = await accept(conn, me, made, Event.STAR)
    await advance(conn, progress)

    cancelled = await batch_updating.cancel(conn, me, progress, "enough")

    assert (cancelled.state, cancelled.message, cancelled.done) == (ProgressState.FAILED, "enough", 4)
    assert await advance(conn, progress) is None
    assert [(await view(conn, m, me))["starred"] for m in made] == [True] * 4 + [False] * 2


async def test_a_slice_that_is_rolled_back_is_done_again(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    me, ann, _ = people
    made = await threads.private(ann, me)
    progress = await accept(conn, me, [made], Event.STAR)
    transaction = conn.transaction()
    await transaction.start()
    await batch_updating.advance(conn, progress, patience=PATIENCE)
    await transaction.rollback()

    assert (await look(conn, progress)).state is ProgressState.QUEUED
    assert (await finish(conn, progress)).message == "1 conversation processed"


async def test_workers_that_meet_share_the_slices(
    conn: asyncpg.Connection, pool: asyncpg.Pool, threads: Threads, people: list[int]
) -> None:
    me, ann, _ = people
    made = [await threads.private(ann, me) for _ in range(40)]
    progress = await accept(conn, me, [*made, 12], Event.MARK_AS_READ)

    async def work() -> Progress:
        async with pool.acquire() as own:
            return await finish(own, progress)

    await asyncio.gather(*(work() for _ in range(4)))

    found = await look(conn, progress)
    assert (found.done, found.message) == (41, f"40 conversations processed\n{MISSING}: 12")


@pytest.mark.parametrize("event", Event)
async def test_a_slice_is_a_handful_of_statements(
    conn: asyncpg.Connection, threads: Threads, people: list[int], event: Event
) -> None:
    me, ann, _ = people
    made = [await threads.private(ann, me) for _ in range(25)]
    progress = await accept(conn, me, made * 20, event)
    asked: list[str] = []

    with conn.query_logger(lambda query: asked.append(query.query)):
        await advance(conn, progress)
        await conn.execute("SELECT")  # the log of a statement is written before the next one ends

    assert (await look(conn, progress)).done == 25
    ours = [query for query in asked if query.startswith(("-- ", "BEGIN", "COMMIT"))]
    assert len(ours) <= 7, ours


async def test_the_sweeper_finds_what_nobody_moves(conn: asyncpg.Connection, people: list[int]) -> None:
    me, *_ = people
    waiting, stalled, finished, cancelled = [await accept(conn, me, range(12, 22), Event.STAR) for _ in range(4)]
    await advance(conn, stalled)
    await finish(conn, finished)
    await batch_updating.cancel(conn, me, cancelled, None)
    now = datetime.now(UTC)

    async def due(seconds: float) -> list[int]:
        moment = now + timedelta(seconds=seconds)
        return sorted(await rows.take_due_progresses(conn, now=moment, due_at=moment + PATIENCE, limit=10))

    assert await due(0) == []
    assert await due(6) == [waiting]
    assert await due(6) == []
    assert await due(60) == [waiting, stalled]
