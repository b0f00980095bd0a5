"""Bulk sends in work when accounts are merged: the target has the message once, and the counters stay whole."""

import asyncio
import itertools
from datetime import timedelta

import asyncpg
import pytest

from service.application.dead_letters import revive
from service.application.directory.events import apply
from service.application.directory.merge import follow_up
from service.application.messages.chunk import ChunkOutcome, Nothing, deliver_at_once, deliver_chunk, read_chunk
from service.application.messages.tag_sets import TagSets
from service.contracts.commands import DeliverChunk
from service.domain.batch_recipients import RecipientState
from service.domain.event_metadata import Cause
from sql import chunks
from sql.batch_recipients import list_recipients
from sql.chunks import PendingChunk
from sql.connection import Connection
from tests.support.batches import Batches, pending
from tests.support.institution import Institution
from tests.support.user_merges import check_invariants, merged, until_waiting

CAUSE = Cause({"root_account_id": "10000000000001"})


@pytest.fixture
async def people(conn: asyncpg.Connection) -> None:
    """The sender 1, and 101 to 107."""
    await conn.executemany(
        "INSERT INTO users (id, name, workflow_state, as_of) VALUES ($1, 'User', 'registered', 'epoch')",
        [(id_,) for id_ in (1, *range(101, 108))],
    )


async def deliver(conn: asyncpg.Connection, batch: int, position: int) -> ChunkOutcome | Nothing:
    """As the command of the chunk would."""
    async with conn.transaction():
        return await deliver_at_once(conn, TagSets(), batch, position, cause=CAUSE)


async def copies(conn: asyncpg.Connection) -> dict[int, int]:
    """Messages by user, without the sender's."""
    rows = await conn.fetch(
        "SELECT user_id, sum(message_count)::integer AS copies FROM participants WHERE user_id <> 1 GROUP BY 1"
    )
    return {row["user_id"]: row["copies"] for row in rows}


async def counted(conn: asyncpg.Connection) -> tuple[object, ...]:
    """State, total, delivered, failed and skipped of the one batch, which has an end if it says so."""
    row = await conn.fetchrow("SELECT state, total, delivered, failed, skipped, finished_at FROM batches")
    assert row is not None
    await check_listed(conn)
    ended = row["state"] in ("sent", "error")
    assert (
        (row["finished_at"] is not None) == ended == (row["delivered"] + row["failed"] + row["skipped"] == row["total"])
    )
    if ended:
        assert await conn.fetchval("SELECT count(*) FROM chunks WHERE state = 'pending'") == 0
    return tuple(row)[:5]


async def check_listed(conn: asyncpg.Connection) -> None:
    """Each recipient of the one batch is listed once, with the state under which they are counted."""
    batch = await conn.fetchrow("SELECT id, total, delivered, failed, batch_skipped(batches) AS skipped FROM batches")
    assert batch is not None
    found = await list_recipients(conn, batch["id"], list(RecipientState), after=0, limit=1000)
    assert len({row.user_id for row in found}) == len(found) == batch["total"]
    for state in ("delivered", "failed", "skipped"):
        assert [row.state for row in found].count(state) == batch[state]


async def events(conn: asyncpg.Connection) -> list[str]:
    """Events of batches, in order."""
    rows = await conn.fetch("SELECT event FROM outbox WHERE body IS NOT NULL ORDER BY id")
    return [row["event"] for row in rows]


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("chunk_size", [1, 2, 6])
@pytest.mark.parametrize("delivered", [None, 0, 1])
@pytest.mark.parametrize("reads_before", [False, True])
async def test_a_recipient_who_is_merged_gives_the_target_one_copy(
    *, conn: asyncpg.Connection, chunk_size: int, delivered: int | None, reads_before: bool
) -> None:
    """101 and 104 become 103 and 106: the one is a recipient as well, the other is not."""
    batch = await Batches(conn).accept([101, 102, 103, 104, 105], chunk_size=chunk_size)
    tag_sets, chunks = TagSets(), -(-5 // chunk_size)
    read = [await read_chunk(conn, batch, position) for position in range(chunks)]
    if delivered is not None and delivered < chunks:
        await deliver_at_once(conn, tag_sets, batch, delivered, cause=None)
    before = set(await conn.fetchval("SELECT coalesce(array_agg(user_id), '{}') FROM participants"))

    await apply(conn, [merged(101, 103), merged(104, 106)])
    for position in range(chunks):
        if reads_before and isinstance(pending := read[position], PendingChunk):
            async with conn.transaction():
                await deliver_chunk(conn, tag_sets, pending, cause=None)
        else:
            await deliver_at_once(conn, tag_sets, batch, position, cause=None)
    await follow_up(conn)

    both_had_it = {101, 103} <= before
    assert await copies(conn) == {102: 1, 103: 2 if both_had_it else 1, 105: 1, 106: 1}
    for position, row in enumerate(await conn.fetch("SELECT first_id, recipients FROM chunks ORDER BY position")):
        # As its recipients were when it was written, not as they were when it was read.
        first = await conn.fetchval("SELECT count(*) FROM conversations WHERE id = $1", row["first_id"])
        assert position == delivered or not row["recipients"] or first == 1
    skipped = 0 if both_had_it else 1
    assert await counted(conn) == ("sent", 5, 5 - skipped, 0, skipped)
    await check_invariants(conn)


@pytest.mark.usefixtures("people")
async def test_several_accounts_that_become_one_and_one_that_becomes_the_sender(conn: asyncpg.Connection) -> None:
    batch = await Batches(conn).accept([101, 102, 103, 104], chunk_size=1)

    await apply(conn, [merged(101, 107), merged(102, 107), merged(103, 1)])
    for position in range(4):
        await deliver_at_once(conn, TagSets(), batch, position, cause=None)

    assert await copies(conn) == {104: 1, 107: 1}
    assert await conn.fetchval("SELECT sum(message_count) FROM participants WHERE user_id = 1") == 2
    assert await counted(conn) == ("sent", 4, 2, 0, 2)


@pytest.mark.usefixtures("people")
async def test_whom_one_merge_after_the_other_leaves_out_is_counted_each_time(conn: asyncpg.Connection) -> None:
    batch = await Batches(conn).accept([101, 102, 103, 104], chunk_size=3)

    await apply(conn, [merged(101, 102)])
    await apply(conn, [merged(102, 103)])
    for position in range(2):
        await deliver(conn, batch, position)

    assert await copies(conn) == {103: 1, 104: 1}
    assert await counted(conn) == ("sent", 4, 2, 0, 2)


@pytest.mark.usefixtures("people")
async def test_who_is_left_is_filed_under_their_own_courses(conn: asyncpg.Connection, institution: Institution) -> None:
    """A chunk that was read before a merge knows its recipients' tags by their places, which have moved."""
    course = await institution.course()
    await institution.enroll(course, 1, "Teacher")
    await institution.enroll(course, [103])
    batch = await Batches(conn).accept([101, 102, 103], chunk_size=3)
    read = await read_chunk(conn, batch, 0)
    assert isinstance(read, PendingChunk)

    await apply(conn, [merged(101, 102)])
    async with conn.transaction():
        await deliver_chunk(conn, TagSets(), read, cause=None)

    rows = await conn.fetch(
        "SELECT user_id, codes FROM participants JOIN tag_sets t ON t.id = tag_set WHERE user_id <> 1 ORDER BY 1"
    )
    assert [tuple(row) for row in rows] == [(102, []), (103, [f"course_{course}"])]


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("chunk_size", [1, 2])
async def test_a_sender_who_is_merged_into_a_recipient_does_not_write_to_themselves(
    conn: asyncpg.Connection, chunk_size: int
) -> None:
    batch = await Batches(conn).accept([101, 103], chunk_size=chunk_size)

    await apply(conn, [merged(1, 103)])
    for position in await pending(conn, batch):
        await deliver(conn, batch, position)

    assert await copies(conn) == {101: 1, 103: 1}
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 1
    assert await counted(conn) == ("sent", 2, 1, 0, 1)


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize(("old", "target"), [(1, 103), (101, 1)])
async def test_what_a_sender_wrote_to_themselves_stays_a_monologue(
    conn: asyncpg.Connection, old: int, target: int
) -> None:
    """The sender alone as recipient, and an account that is merged: of either it is known whom it was meant for."""
    batch = await Batches(conn).accept([1], chunk_size=1)

    await apply(conn, [merged(old, target)])
    await deliver(conn, batch, 0)

    rows = await conn.fetch("SELECT user_id, message_count FROM participants")
    assert [tuple(row) for row in rows] == [(target, 1)]
    assert await counted(conn) == ("sent", 1, 1, 0, 0)


@pytest.mark.usefixtures("people")
async def test_whom_a_former_account_had_it_for_does_not_get_it_again(conn: asyncpg.Connection) -> None:
    """The account that had it was merged earlier than the one for which it waits."""
    batch = await Batches(conn).accept([101, 102], chunk_size=1)
    await deliver_at_once(conn, TagSets(), batch, 0, cause=None)

    await apply(conn, [merged(101, 107)])
    await apply(conn, [merged(102, 107)])
    await deliver_at_once(conn, TagSets(), batch, 1, cause=None)

    assert await copies(conn) == {107: 1}


@pytest.mark.usefixtures("people")
async def test_whom_an_account_had_it_for_that_became_one_of_theirs_long_ago_does_not_get_it_again(
    conn: asyncpg.Connection,
) -> None:
    """Merges in a row: the account that had it is none of those that are merged now."""
    batch = await Batches(conn).accept([101, 103], chunk_size=1)
    await deliver(conn, batch, 0)

    for old, target in ((101, 105), (105, 102), (102, 103)):
        await apply(conn, [merged(old, target)])
    await deliver(conn, batch, 1)

    assert await copies(conn) == {103: 1}
    assert await counted(conn) == ("sent", 2, 1, 0, 1)


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("fails", [None, 2])
async def test_a_chunk_that_is_left_empty_ends_with_its_batch(
    *, conn: asyncpg.Connection, order: tuple[int, ...], fails: int | None
) -> None:
    """A batch that ended before would leave the chunk pending for good; one that did not know of it would never end."""
    batch = await Batches(conn).accept([101, 102, 103], chunk_size=1)
    await apply(conn, [merged(101, 102)])
    assert await pending(conn, batch) == [0, 1, 2]

    for step, position in enumerate(order):
        if position == fails:
            await chunks.fail_chunk(conn, batch, position, error="no", cause=CAUSE)
        else:
            await deliver(conn, batch, position)
        assert (await counted(conn))[0] == ("sending" if step < 2 else "sent" if fails is None else "error")

    delivered = 2 if fails is None else 1
    assert await counted(conn) == ("sent" if fails is None else "error", 3, delivered, 2 - delivered, 1)
    assert await copies(conn) == dict.fromkeys([102, 103][:delivered], 1)
    end = "batch_finished" if fails is None else "batch_failed"
    assert await events(conn) == ["batch_started", "batch_progress", "batch_progress", end]


async def left_out(conn: asyncpg.Connection) -> set[int]:
    """Who was taken out of a chunk, because the account is no more."""
    rows = await conn.fetch("SELECT user_id, reason FROM skipped_recipients")
    assert {row["reason"] for row in rows} <= {"user_deleted"}
    return {row["user_id"] for row in rows}


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("chunk_size", [1, 2, 6])
async def test_who_is_left_out_is_listed_so(conn: asyncpg.Connection, chunk_size: int) -> None:
    """101 gives way to 103, who was a recipient; 104 to 107, who was not; 105 and 106 together as well."""
    batch = await Batches(conn).accept(range(101, 107), chunk_size=chunk_size)

    await apply(conn, [merged(101, 103), merged(104, 107)])
    assert await left_out(conn) == {101}
    await apply(conn, [merged(105, 107), merged(106, 107)])
    assert await left_out(conn) == {101, 105, 106}
    await check_listed(conn)
    for position in await pending(conn, batch):
        await deliver(conn, batch, position)

    assert await copies(conn) == {102: 1, 103: 1, 107: 1}
    assert await counted(conn) == ("sent", 6, 3, 0, 3)


@pytest.mark.usefixtures("people")
async def test_a_paused_batch_is_redirected_too(conn: asyncpg.Connection) -> None:
    batches = Batches(conn)
    batch = await batches.accept([101, 102], chunk_size=1)
    await batches.set_state(batch, "paused")
    await apply(conn, [merged(101, 107)])
    await batches.set_state(batch, "sending")

    for position in range(2):
        await deliver(conn, batch, position)

    assert await copies(conn) == {102: 1, 107: 1}
    assert await left_out(conn) == set()


@pytest.mark.usefixtures("people")
async def test_who_becomes_one_that_failed_is_left_out_and_the_other_can_be_brought_back(
    conn: asyncpg.Connection,
) -> None:
    batch = await Batches(conn).accept([101, 102], chunk_size=1)
    await chunks.fail_chunk(conn, batch, 1, error="no", cause=None)

    await apply(conn, [merged(101, 102)])
    await deliver(conn, batch, 0)
    assert await counted(conn) == ("error", 2, 0, 1, 1)
    await bring_back(conn, batch, 1)
    await deliver(conn, batch, 1)

    assert await copies(conn) == {102: 1}
    assert await counted(conn) == ("sent", 2, 1, 0, 1)


@pytest.mark.usefixtures("people")
async def test_an_account_that_was_merged_the_wrong_way_round_is_merged_the_right_way(
    conn: asyncpg.Connection,
) -> None:
    """101 was left out as deleted, and comes back to life for 102 to be merged into it."""
    batch = await Batches(conn).accept([101, 102], chunk_size=2)
    await apply(conn, [merged(101, 102)])
    assert await left_out(conn) == {101}

    await conn.execute("UPDATE users SET workflow_state = 'registered', merged_into_user_id = NULL WHERE id = 101")
    await apply(conn, [merged(102, 101)])
    assert await left_out(conn) == {102}
    await deliver(conn, batch, 0)

    assert await copies(conn) == {101: 1}
    assert await counted(conn) == ("sent", 2, 1, 0, 1)


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("chunk_size", [1, 2])
async def test_a_batch_of_which_nobody_is_left_ends(conn: asyncpg.Connection, chunk_size: int) -> None:
    batch = await Batches(conn).accept([101, 102], chunk_size=chunk_size)
    await apply(conn, [merged(101, 1), merged(102, 1)])
    assert await counted(conn) == ("created", 2, 0, 0, 0)

    for position in await pending(conn, batch):
        await deliver(conn, batch, position)

    assert await copies(conn) == {}
    assert await counted(conn) == ("sent", 2, 0, 0, 2)
    assert (await events(conn))[0] == "batch_started"
    assert (await events(conn))[-1] == "batch_finished"


@pytest.mark.usefixtures("people")
async def test_an_empty_chunk_that_was_given_up_can_be_brought_back(conn: asyncpg.Connection) -> None:
    batch = await Batches(conn).accept([101, 102], chunk_size=1)
    await apply(conn, [merged(101, 102)])
    await deliver(conn, batch, 1)
    await chunks.fail_chunk(conn, batch, 0, error="no", cause=None)
    assert await counted(conn) == ("sent", 2, 1, 0, 1)

    await bring_back(conn, batch, 0)
    assert await counted(conn) == ("sending", 2, 1, 0, 0)
    await deliver(conn, batch, 0)

    assert await copies(conn) == {102: 1}
    assert await counted(conn) == ("sent", 2, 1, 0, 1)


async def bring_back(conn: asyncpg.Connection, batch: int, *positions: int) -> None:
    """As requeueing their dead letters does."""
    bodies = [DeliverChunk(batch_id=batch, position=n).model_dump_json().encode() for n in positions]
    assert await revive(conn, bodies, due_after=timedelta()) == [None] * len(bodies)


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("delivered", ["before", "after", "never"])
@pytest.mark.parametrize("merges", [[(101, 102)], [(102, 101)], [(101, 107), (107, 102)], [(101, 107), (102, 107)]])
async def test_a_chunk_that_was_given_up_before_a_merge_and_comes_back_after_it(
    *, conn: asyncpg.Connection, delivered: str, merges: list[tuple[int, int]]
) -> None:
    """101 and 102 become one; the chunk of 101 and 103 is given up before that and brought back afterwards."""
    batch = await Batches(conn).accept([101, 103, 102], chunk_size=2)
    if delivered == "before":
        await deliver(conn, batch, 1)
    await chunks.fail_chunk(conn, batch, 0, error="no", cause=None)
    for old, target in merges:
        await apply(conn, [merged(old, target)])
    if delivered == "after":
        await deliver(conn, batch, 1)
    elif delivered == "never":
        await chunks.fail_chunk(conn, batch, 1, error="no", cause=None)

    await bring_back(conn, batch, *([0, 1] if delivered == "never" else [0]))
    for position in range(2):
        await deliver(conn, batch, position)
    await follow_up(conn)

    assert await copies(conn) == {103: 1, merges[-1][1]: 1}
    assert await counted(conn) == ("sent", 3, 2, 0, 1)
    await check_invariants(conn)


@pytest.mark.usefixtures("people")
@pytest.mark.parametrize("first", ["merge", "delivery"])
@pytest.mark.parametrize("target", [102, 103, 106])
async def test_a_merge_and_a_delivery_that_meet(
    *, conn: asyncpg.Connection, pool: asyncpg.Pool, first: str, target: int
) -> None:
    """Whichever comes second waits, and the delivery had read its chunk before. 103 is in the other chunk."""
    batch = await Batches(conn).accept([101, 102, 103], chunk_size=2)
    read = await read_chunk(conn, batch, 0)
    assert isinstance(read, PendingChunk)

    async def deliver_read(own: Connection) -> None:
        assert isinstance(await deliver_chunk(own, TagSets(), read, cause=CAUSE), ChunkOutcome)

    async def merge(own: Connection) -> None:
        await apply(own, [merged(101, target)])

    async def alone() -> None:
        async with pool.acquire() as own, own.transaction():
            await (deliver_read if first == "merge" else merge)(own)

    async with pool.acquire() as other, other.transaction():
        await (merge if first == "merge" else deliver_read)(other)
        second = asyncio.create_task(alone())
        await until_waiting(conn)
    await second
    await deliver(conn, batch, 1)
    await follow_up(conn)

    expected = dict.fromkeys({102, 103, target}, 1)
    if first == "delivery" and target == 102:
        expected[102] = 2  # both had it
    assert await copies(conn) == expected
    skipped = 1 if target == 103 or (target == 102 and first == "merge") else 0
    assert await counted(conn) == ("sent", 3, 3 - skipped, 0, skipped)
    await check_invariants(conn)
