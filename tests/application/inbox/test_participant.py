"""Changing one's own view (canvas/semantics.md 8): recounting, tags, and what it costs."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

import asyncpg
import pytest

from service.application.inbox import participant
from service.application.inbox.participant import Change
from service.application.messages.tag_sets import TagSets
from service.domain.errors import Code, Refusal
from service.domain.participant import Event, State
from sql import participants
from tests.support.conversations import START, Threads
from tests.support.institution import Institution
from tests.support.participants import all_of_others, bodies, participant_row
from tests.support.waiting import PATIENCE

Remove = Callable[..., Awaitable[None]]


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return await institution.users(4)


@pytest.fixture
def remove(conn: asyncpg.Connection) -> Remove:
    """Removes messages in a transaction of its own, as the gateway does."""

    async def do(user: int, conversations: int | Sequence[int], *messages: int) -> None:
        ids = [conversations] if isinstance(conversations, int) else conversations
        async with conn.transaction():
            await participant.remove_messages(conn, TagSets(), user, ids, messages)

    return do


def at(minute: int) -> datetime:
    return START + timedelta(minutes=minute)


class TestRemovingSome:
    async def test_counts_what_is_left(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int], remove: Remove
    ) -> None:
        me, ann, *_ = people
        made = await threads.private(ann, me, "One", attachments=[1])
        await threads.reply(made, me, "Two", media="m")
        last = await threads.reply(made, ann, "Three")
        await threads.update(made, me, has_attachments=True, has_media_objects=True)
        before = await all_of_others(conn, me)

        await remove(me, made, last, made)

        after = await participant_row(conn, made, me)
        assert await bodies(conn, made, me) == ["Two"]
        assert (after["message_count"], after["unread"]) == (1, True)
        assert after["last_message_at"] == after["visible_last_authored_at"] == at(1)
        assert (after["has_attachments"], after["has_media_objects"]) == (False, True)
        assert await all_of_others(conn, me) == before
        assert await bodies(conn, made, ann) == ["One", "Two", "Three"]

    async def test_of_ones_own_moves_the_sent_list(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int], remove: Remove
    ) -> None:
        me, ann, *_ = people
        made = await threads.private(me, ann, "One")
        newer = await threads.reply(made, me, "Two")
        await threads.reply(made, ann, "Three")

        await remove(me, made, newer)
        assert (await participant_row(conn, made, me))["visible_last_authored_at"] == at(0)

        await remove(me, made, made)
        after = await participant_row(conn, made, me)
        assert after["visible_last_authored_at"] is None
        assert after["last_authored_at"] == at(1)
        assert after["last_message_at"] == at(2)

    async def test_leaves_a_thread_without_answers_where_it_is(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int], remove: Remove
    ) -> None:
        me, ann, *_ = people
        made = await threads.private(me, ann, "One")
        newer = await threads.reply(made, me, "Two")

        await remove(me, made, newer)

        after = await participant_row(conn, made, me)
        assert (after["message_count"], after["last_message_at"]) == (1, None)
        assert after["visible_last_authored_at"] == at(0)

    async def test_of_a_muted_thread_shows_nothing_newer(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int], remove: Remove
    ) -> None:
        me, ann, ben, _ = people
        made = await threads.group(ann, [me, ben])
        second = await threads.reply(made, ben)
        await threads.reply(made, ann)
        await threads.update(made, me, subscribed=False, last_message_at=at(1))

        await remove(me, made, second)
        assert (await participant_row(conn, made, me))["last_message_at"] == at(0)

        await remove(me, made, made)
        assert (await participant_row(conn, made, me))["last_message_at"] == at(2)

    async def test_of_an_older_one_leaves_a_muted_thread_in_its_place(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int], remove: Remove
    ) -> None:
        me, ann, ben, _ = people
        made = await threads.group(ann, [me, ben])
        for author in (ben, ann, ben):
            await threads.reply(made, author)
        await threads.update(made, me, subscribed=False, last_message_at=at(2))

        await remove(me, made, made)

        assert (await participant_row(conn, made, me))["last_message_at"] == at(2)

    async def test_ignores_what_the_user_does_not_have(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int], remove: Remove
    ) -> None:
        me, ann, ben, _ = people
        made = await threads.group(ann, [me, ben])
        hidden = await threads.reply(made, ann, only=[ben])
        foreign = await threads.private(ann, ben)
        own = await threads.private(ann, me)
        before = await participant_row(conn, made, me), await all_of_others(conn, me)

        await remove(me, made, hidden, foreign, own, 12)

        assert (await participant_row(conn, made, me), await all_of_others(conn, me)) == before
        assert await bodies(conn, own, me) == ["Hello"]

    async def test_counts_nothing_anew_where_nothing_went(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int], remove: Remove
    ) -> None:
        me, ann, *_ = people
        made = await threads.private(ann, me)
        await threads.update(made, me, tag_set=await threads.tag_set(["course_1", "course_2"]))
        before = await participant_row(conn, made, me)

        await remove(me, made, 12)

        assert await participant_row(conn, made, me) == before

    async def test_of_a_message_received_alone(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int], remove: Remove
    ) -> None:
        me, ann, ben, _ = people
        made = await threads.group(ann, [me, ben], "All")
        alone = await threads.reply(made, ann, "You", only=[me])

        await remove(me, made, alone)

        assert await bodies(conn, made, me) == ["All"]
        assert await bodies(conn, made, ann) == ["All", "You"]


class TestRemovingTheLast:
    async def test_takes_the_generated_ones_along_and_resets_the_row(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int], remove: Remove
    ) -> None:
        me, ann, ben, late = people
        made = await threads.group(ann, [me, ben], tags=["course_1"], attachments=[1])
        await threads.added(made, ann, [late])
        await threads.update(made, me, starred=True, subscribed=False)

        await remove(me, made, made)

        after = await participant_row(conn, made, me)
        assert await bodies(conn, made, me) == []
        assert after == after | {
            "message_count": 0,
            "last_message_at": None,
            "visible_last_authored_at": None,
            "unread": False,
            "archived": False,
            "starred": False,
            "subscribed": False,
            "has_attachments": False,
            "codes": [],
        }
        assert len(await bodies(conn, made, ben)) == 2

    async def test_generated_ones_alone_change_no_count(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int], remove: Remove
    ) -> None:
        me, ann, ben, late = people
        made = await threads.group(ann, [me, ben])
        news = await threads.added(made, ann, [late])
        before = await participant_row(conn, made, me)

        await remove(me, made, news)

        assert await participant_row(conn, made, me) == before
        assert len(await bodies(conn, made, me)) == 1


class TestTags:
    async def test_of_a_private_thread_are_those_of_the_messages_left(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int], remove: Remove
    ) -> None:
        me, ann, *_ = people
        made = await threads.private(ann, me, tags=["course_1"])
        second = await threads.reply(made, ann)
        await conn.execute(
            "UPDATE messages SET tag_set = $2 WHERE id = $1", second, await threads.tag_set(["course_2"])
        )
        await threads.update(made, me, tag_set=await threads.tag_set(["course_1", "course_2"]))

        await remove(me, made, made)

        assert (await participant_row(conn, made, me))["codes"] == ["course_2"]
        assert (await participant_row(conn, made, ann))["codes"] == ["course_1"]

    async def test_of_a_group_stay(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int], remove: Remove
    ) -> None:
        me, ann, ben, _ = people
        made = await threads.group(ann, [me, ben], tags=["course_1"])
        await threads.reply(made, ann)

        await remove(me, made, made)

        assert (await participant_row(conn, made, me))["codes"] == ["course_1"]


class TestSubscribing:
    async def test_catches_up_with_what_came_meanwhile(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int]
    ) -> None:
        me, ann, ben, _ = people
        made = await threads.group(ann, [me, ben])
        await threads.reply(made, ben)
        await threads.reply(made, ann, only=[ben])
        await threads.added(made, ann, [ben])
        await threads.update(made, me, subscribed=False, last_message_at=START, unread=False, archived=True)

        await participant.apply_change(conn, me, made, Change(subscribed=True))

        after = await participant_row(conn, made, me)
        assert (after["last_message_at"], after["unread"], after["archived"]) == (at(1), True, False)

    async def test_does_nothing_to_who_is_subscribed(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int]
    ) -> None:
        me, ann, ben, _ = people
        made = await threads.group(ann, [me, ben])
        await threads.reply(made, me)
        before = await participant_row(conn, made, me)

        await participant.apply_change(conn, me, made, Change(subscribed=True))

        assert await participant_row(conn, made, me) == before


async def test_an_explicit_state_beats_the_one_that_follows_from_subscribing(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    me, ann, ben, _ = people
    made = await threads.group(ann, [me, ben])

    await participant.apply_change(conn, me, made, Change(subscribed=False, state=State.UNREAD, starred=True))

    after = await participant_row(conn, made, me)
    assert (after["subscribed"], after["unread"], after["starred"]) == (False, True, True)


async def test_who_takes_no_part_can_change_nothing(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    me, ann, ben, _ = people
    made = await threads.private(ann, ben)

    with pytest.raises(Refusal) as refused:
        await participant.apply_change(conn, me, made, Change(starred=True))

    assert refused.value.code is Code.NOT_FOUND


async def until_waiting(pool: asyncpg.Pool) -> None:
    """Returns when a transaction of this database waits for another."""
    async with asyncio.timeout(PATIENCE), pool.acquire() as conn:
        while not await conn.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        ):
            pass


async def test_counting_waits_for_a_message_on_its_way(
    conn: asyncpg.Connection, pool: asyncpg.Pool, threads: Threads, people: list[int]
) -> None:
    me, ann, *_ = people
    made = await threads.private(ann, me, "One")

    async def remove() -> None:
        async with pool.acquire() as other, other.transaction():
            await participant.remove_messages(other, TagSets(), me, [made], [made])

    async with conn.transaction():
        await threads.reply(made, ann, "Two")
        removing = asyncio.create_task(remove())
        await until_waiting(pool)
    await removing

    after = await participant_row(conn, made, me)
    assert (after["message_count"], after["last_message_at"]) == (1, at(1))
    assert await bodies(conn, made, me) == ["Two"]


async def test_a_message_waits_for_the_counting(
    conn: asyncpg.Connection, pool: asyncpg.Pool, threads: Threads, people: list[int]
) -> None:
    me, ann, *_ = people
    made = await threads.private(ann, me, "One")

    async with pool.acquire() as other, other.transaction():
        await participant.apply_event(other, me, [made], Event.DESTROY)
        arriving = asyncio.create_task(threads.reply(made, ann, "Two"))
        await until_waiting(pool)
    await arriving

    after = await participant_row(conn, made, me)
    assert (after["message_count"], after["unread"]) == (1, True)
    assert await bodies(conn, made, me) == ["Two"]


@pytest.mark.parametrize("event", Event)
async def test_five_hundred_cost_as_many_statements_as_one(
    conn: asyncpg.Connection, threads: Threads, people: list[int], event: Event
) -> None:
    me, ann, *_ = people
    made = [await threads.private(ann, me) for _ in range(101)]

    async def cost(ids: Sequence[int]) -> int:
        asked: list[str] = []
        with conn.query_logger(lambda query: asked.append(query.query)):
            assert await participant.apply_event(conn, me, ids, event) == set(ids)
            await conn.execute("SELECT")  # the log of a statement is written before the next one ends
        return sum(query.startswith("-- ") for query in asked)  # ours; asyncpg also asks what types there are

    first, many = await cost(made[:1]), await cost(made[1:])

    assert first == many <= 3
    rows = [await participant_row(conn, conversation, me) for conversation in made]
    assert len({(row["unread"], row["archived"], row["starred"], row["message_count"]) for row in rows}) == 1


async def test_removing_from_hundreds_costs_as_many_statements_as_from_one(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    me, ann, *_ = people
    made = [await threads.private(ann, me, tags=["course_1"]) for _ in range(60)]
    replies = [await threads.reply(conversation, ann) for conversation in made]
    tag_sets = TagSets()
    await tag_sets.lists(conn, (await tag_sets.intern(conn, [("course_1",)])).values())

    async def cost(some: slice) -> int:
        asked: list[str] = []
        with conn.query_logger(lambda query: asked.append(query.query)):
            await participant.remove_messages(conn, tag_sets, me, made[some], replies[some])
            await conn.execute("SELECT")  # the log of a statement is written before the next one ends
        return sum(query.startswith("-- ") for query in asked)  # ours; asyncpg also asks what types there are

    assert await cost(slice(1)) == await cost(slice(1, None)) <= 6
    assert {(await participant_row(conn, m, me))["message_count"] for m in made} == {1}


async def test_reading_all_leaves_rows_in_place(conn: asyncpg.Connection, threads: Threads, people: list[int]) -> None:
    """HOT updates: unread stands in no index."""
    me, ann, *_ = people
    for _ in range(3):
        await threads.private(ann, me)

    counted = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_xact_user_tables WHERE relname = 'participants'"
    async with conn.transaction():
        before = await conn.fetchrow(counted)  # of what the connection has done and not reported yet
        await participant.mark_all_read(conn, me)
        after = await conn.fetchrow(counted)

    assert [now - then for now, then in zip(after or (), before or (), strict=True)] == [3, 3]


async def test_what_is_archived_before_it_is_read_with_others_stays_archived(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    """The conversations that an administrator may see are chosen before their rows are locked."""
    me, ann, bob, *_ = people
    archived, waiting = await threads.private(ann, me), await threads.private(bob, me)
    await threads.update(archived, me, archived=True)

    await participants.mark_all_read(conn, me, [archived, waiting])

    rows = [await participant_row(conn, id_, me) for id_ in (archived, waiting)]
    assert [(row["archived"], row["unread"]) for row in rows] == [(True, True), (False, False)]
