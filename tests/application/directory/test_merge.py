"""Merging of user accounts (canvas/semantics.md 2.6) by directory events."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from service.application.directory.events import apply
from service.application.directory.merge import follow_up
from service.contracts.directory import DirectoryEvent
from service.runtime.settings import Settings
from sql import deliveries
from sql.sends import Message
from tests.support.conversations import Threads
from tests.support.institution import Institution
from tests.support.participants import bodies, messages_of, participant_row, participant_rows
from tests.support.user_merges import Pairs, check_invariants, merged, seen, until_waiting
from workers.merge import MergeSweeper


@pytest.fixture
def pairs(conn: asyncpg.Connection, threads: Threads) -> Pairs:
    return Pairs(conn, threads)


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    """Ids ascending."""
    return await institution.users(5)


class TestAThreadOfOnesOwn:
    @pytest.mark.parametrize("ends", [(0, 2, 1), (2, 0, 1), (1, 2, 0), (0, 1, 2)])
    async def test_is_found_again_for_the_target_whichever_id_is_lower(
        self, conn: asyncpg.Connection, pairs: Pairs, people: list[int], ends: tuple[int, int, int]
    ) -> None:
        old, target, peer = (people[end] for end in ends)
        made = await pairs.send(peer, old, "To the old one")
        await pairs.send(old, peer, "From the old one")

        await apply(conn, [merged(old, target)])

        assert await pairs.between(target, peer) == [made]
        assert await pairs.between(old, peer) == []
        assert set(await participant_rows(conn, made)) == {target, peer}
        mine = await participant_row(conn, made, target)
        assert (mine["message_count"], mine["unread"]) == (2, True)
        assert await conn.fetchval("SELECT count(*) FROM sends WHERE author_id = $1", target) == 1
        await pairs.send(peer, target)
        assert await pairs.between(target, peer) == [made]

    async def test_keeps_what_was_deleted_deleted(
        self, conn: asyncpg.Connection, threads: Threads, pairs: Pairs, people: list[int]
    ) -> None:
        old, target, peer, *_ = people
        made = await pairs.send(peer, old, "One")
        await pairs.send(peer, old, "Two")
        await threads.delete(made, old)
        await apply(conn, [merged(old, target)])
        assert await bodies(conn, made, target) == []
        assert await bodies(conn, made, peer) == ["One", "Two"]
        assert (await participant_row(conn, made, target))["message_count"] == 0


class TestTwoThreadsThatBecomeOne:
    async def test_all_messages_are_in_that_of_the_target_and_counted(
        self, conn: asyncpg.Connection, pairs: Pairs, people: list[int], threads: Threads
    ) -> None:
        old, target, peer, *_ = people
        gone = await pairs.send(peer, old, "1", attachments=[1])
        await pairs.send(old, peer, "2")
        kept = await pairs.send(peer, target, "3", tags=["course_1"])
        await pairs.send(target, peer, "4")
        before = await participant_rows(conn, kept)
        forward = await threads.private(peer, people[4], "See", forwards=[gone])

        await apply(conn, [merged(old, target)])

        assert await pairs.between(target, peer) == [kept]
        assert await conn.fetchval("SELECT count(*) FROM conversations WHERE id = $1", gone) == 0
        assert await participant_rows(conn, gone) == {}
        after = await participant_rows(conn, kept)
        for user in (target, peer):
            assert await bodies(conn, kept, user) == ["1", "2", "3", "4"]
            assert after[user]["message_count"] == 4
            assert after[user]["has_attachments"]
            assert after[user]["last_message_at"] == before[user]["last_message_at"]
            assert after[user]["codes"] == before[user]["codes"] == ["course_1"]
        assert (await messages_of(conn, kept, target))[0] == (gone, "1")
        assert await conn.fetchval("SELECT has_attachments FROM conversations WHERE id = $1", kept)
        source = (
            "SELECT forwarded_conversation_id FROM sends JOIN conversations c ON c.send_id = sends.id WHERE c.id = $1"
        )
        assert await conn.fetchval(source, forward) == kept

    @pytest.mark.parametrize(
        ("disappearing", "surviving", "state"),
        [
            ("read", "unread", "unread"),
            ("read", "archived", "archived"),
            ("unread", "archived", "unread"),
            ("unread", "read", "unread"),
            ("archived", "unread", "archived"),
            ("archived", "read", "archived"),
        ],
    )
    async def test_take_the_state_of_what_disappears_unless_that_was_read(
        self,
        *,
        conn: asyncpg.Connection,
        pairs: Pairs,
        threads: Threads,
        people: list[int],
        disappearing: str,
        surviving: str,
        state: str,
    ) -> None:
        old, target, peer, *_ = people
        gone, kept = await pairs.send(peer, old), await pairs.send(peer, target)
        await set_state(threads, gone, old, disappearing)
        await set_state(threads, kept, target, surviving)
        await apply(conn, [merged(old, target)])
        assert state_of(await participant_row(conn, kept, target)) == state

    async def test_one_that_the_target_had_emptied_shows_what_comes_in(
        self, conn: asyncpg.Connection, pairs: Pairs, threads: Threads, people: list[int]
    ) -> None:
        old, target, peer, *_ = people
        gone = await pairs.send(peer, old, "New")
        kept = await pairs.send(peer, target, "Gone")
        await threads.delete(kept, target)
        came = (await participant_row(conn, gone, old))["last_message_at"]
        await apply(conn, [merged(old, target)])
        assert await bodies(conn, kept, target) == ["New"]
        after = await participant_row(conn, kept, target)
        assert (after["message_count"], after["unread"], after["last_message_at"]) == (1, True, came)

    async def test_what_waits_to_be_said_moves_along(
        self, conn: asyncpg.Connection, pairs: Pairs, people: list[int]
    ) -> None:
        old, target, peer, *_ = people
        kept, gone = await pairs.send(peer, target), await pairs.send(peer, old)
        send = await conn.fetchval(
            "INSERT INTO sends (author_id, created_at, body, private, root_account_ids)"
            " VALUES ($1, now(), 'Wait', true, '{1}') RETURNING id",
            old,
        )
        await conn.execute(
            "INSERT INTO pending_replies (conversation_id, message_id, send_id, included_message_ids, tags, user_note,"
            " due_at) VALUES ($1, 1, $2, '{}', '{}', false, now())",
            gone,
            send,
        )

        await apply(conn, [merged(old, target)])

        assert await pairs.between(target, peer) == [kept]
        assert await conn.fetchval("SELECT conversation_id FROM pending_replies") == kept
        assert await conn.fetchval("SELECT author_id FROM sends WHERE id = $1", send) == target

    async def test_of_different_contexts_stay_two(
        self, conn: asyncpg.Connection, pairs: Pairs, people: list[int]
    ) -> None:
        old, target, peer, *_ = people
        plain, in_course = await pairs.send(peer, old), await pairs.send(peer, target, context=5)
        await apply(conn, [merged(old, target)])
        assert await pairs.between(target, peer) == [plain, in_course]

    async def test_letters_between_the_two_join_the_monologue(
        self, conn: asyncpg.Connection, pairs: Pairs, people: list[int]
    ) -> None:
        old, target, *_ = people
        await pairs.send(old, target, "1")
        await pairs.send(old, old, "2")
        own = await pairs.send(target, target, "3")
        await apply(conn, [merged(old, target)])
        assert await pairs.between(target, target) == [own]
        assert await bodies(conn, own, target) == ["1", "2", "3"]
        assert await conn.fetchval("SELECT count(*) FROM participants") == 1


class TestBothInOneGroup:
    @pytest.mark.parametrize(
        ("of_old", "of_target", "state"),
        [
            ("read", "unread", "unread"),
            ("read", "archived", "read"),
            ("unread", "archived", "unread"),
            ("unread", "read", "unread"),
            ("archived", "read", "read"),
            ("archived", "unread", "unread"),
        ],
    )
    async def test_there_is_one_row_with_the_state_that_asks_for_more(
        self,
        *,
        conn: asyncpg.Connection,
        threads: Threads,
        people: list[int],
        of_old: str,
        of_target: str,
        state: str,
    ) -> None:
        old, target, *others = people
        made = await threads.group(others[0], [old, target, *others])
        await set_state(threads, made, old, of_old)
        await set_state(threads, made, target, of_target)
        await apply(conn, [merged(old, target)])
        assert set(await participant_rows(conn, made)) == {target, *others}
        assert state_of(await participant_row(conn, made, target)) == state

    async def test_the_target_has_what_either_had(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int]
    ) -> None:
        old, target, peer, *_ = people
        made = await threads.group(peer, [old, target], "All")
        await threads.reply(made, peer, "Old only", only=[old])
        both = await threads.reply(made, peer, "Deleted by both")
        one = await threads.reply(made, peer, "Deleted by one")
        for user, message in ((old, both), (target, both), (old, one)):
            await threads.delete_message(made, message, user)
        await threads.reply(made, old, "Mine")
        await threads.added(made, peer, [target])  # a generated message, which does not count
        touched = datetime(2030, 1, 1, tzinfo=UTC)
        await threads.update(made, target, touched_at=touched.replace(year=2029))
        await threads.update(made, old, touched_at=touched)

        await apply(conn, [merged(old, target)])

        assert await bodies(conn, made, target) == ["All", "Old only", "Deleted by one", "Mine", ""]
        after = await participant_row(conn, made, target)
        assert after["message_count"] == 4
        assert after["visible_last_authored_at"] == after["last_authored_at"] is not None
        assert after["touched_at"] == touched

    async def test_what_one_was_given_from_before_their_time_stays(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int]
    ) -> None:
        """Both have joined later than the first message, which one of them was given again."""
        old, target, peer, *_ = people
        made = await threads.group(peer, [old, target], "All")
        joined = await threads.reply(made, peer, "Since then")
        since = await conn.fetchval(
            "SELECT created_at FROM sends WHERE id = (SELECT send_id FROM messages WHERE id = $1)", joined
        )
        for user in (old, target):
            await threads.update(made, user, history_from=since)
        await conn.execute(
            "INSERT INTO message_views (conversation_id, message_id, user_id) VALUES ($1, $1, $2)", made, old
        )
        assert [await bodies(conn, made, user) for user in (old, target)] == [["All", "Since then"], ["Since then"]]

        await apply(conn, [merged(old, target)])

        assert await bodies(conn, made, target) == ["All", "Since then"]

    @pytest.mark.parametrize("late", ["old", "target"])
    async def test_who_joined_later_has_the_whole_that_the_other_has(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int], late: str
    ) -> None:
        old, target, peer, *_ = people
        made = await threads.group(peer, [old, target], "From before")
        await threads.reply(made, peer, "Since then")
        since = await conn.fetchval("SELECT created_at FROM sends WHERE body = 'Since then'")
        await threads.update(made, old if late == "old" else target, history_from=since)

        await apply(conn, [merged(old, target)])

        assert await bodies(conn, made, target) == ["From before", "Since then"]
        assert (await participant_row(conn, made, target))["history_from"] is None


async def set_state(threads: Threads, conversation: int, user: int, state: str) -> None:
    await threads.update(conversation, user, unread=state == "unread", archived=state == "archived")


def state_of(row: Mapping[str, Any]) -> str:
    return "archived" if row["archived"] else "unread" if row["unread"] else "read"


class TestWhatElseIsTheirs:
    async def test_batches_journal_waiting_replies_and_updates_in_work(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int]
    ) -> None:
        old, target, peer, *_ = people
        made = await threads.group(peer, [old])
        send = "(SELECT send_id FROM conversations WHERE id = $1)"
        await conn.execute(
            "INSERT INTO batches (send_id, sender_id, message_id, tags, user_note, state, total, created_at)"
            f" VALUES ({send}, $2, 1, '{{}}', false, 'sending', 1, now())",
            made,
            old,
        )
        await conn.execute(f"INSERT INTO journal_entries VALUES ({send}, $2), ({send}, $3)", made, old, target)
        await conn.execute(
            "INSERT INTO pending_replies (conversation_id, message_id, send_id, recipients, included_message_ids, tags,"
            f" user_note, due_at) VALUES ($1, 2, {send}, $2, '{{}}', '{{}}', false, now())",
            made,
            [old, target, peer],
        )
        await conn.execute(
            "INSERT INTO batch_updates (user_id, event, conversation_ids, state, created_at, updated_at, due_at)"
            " SELECT $1, 'star', '{}', state, now(), now(), now() FROM unnest($2::text[]) AS state",
            old,
            ["queued", "running", "completed", "failed"],
        )
        await apply(conn, [merged(old, target)])
        assert await conn.fetchval("SELECT sender_id FROM batches") == target
        assert [row["user_id"] for row in await conn.fetch("SELECT user_id FROM journal_entries")] == [target]
        assert await conn.fetchval("SELECT recipients FROM pending_replies") == [target, peer]
        owners = {row["state"]: row["user_id"] for row in await conn.fetch("SELECT state, user_id FROM batch_updates")}
        assert owners == {"queued": target, "running": target, "completed": old, "failed": old}

    async def test_what_was_under_way_is_handed_on_by_the_next_sweep(
        self, conn: asyncpg.Connection, pool: asyncpg.Pool, pairs: Pairs, people: list[int], settings: Settings
    ) -> None:
        old, target, peer, *_ = people
        await apply(conn, [merged(old, target)])
        kept = await pairs.send(peer, target, "1")
        await pairs.send(peer, old, "2")
        follower = MergeSweeper(settings, pool, NoPublisher)
        assert await follower.sweep() == 1
        assert await bodies(conn, kept, target) == ["1", "2"]
        assert await follower.sweep() == 0

    @pytest.mark.parametrize(
        "row",
        [
            {},
            {"archived": True},
            {"last_message_at": None, "visible_last_authored_at": datetime(2026, 1, 1, tzinfo=UTC)},
            {"last_message_at": None, "starred": True},
            {"last_message_at": None, "private_peer_id": 10**6, "private_context": 0},
            {"last_message_at": None, "deleted": True},
        ],
        ids=str,
    )
    async def test_whatever_list_still_has_it_it_is_found(
        self,
        *,
        conn: asyncpg.Connection,
        pool: asyncpg.Pool,
        threads: Threads,
        people: list[int],
        settings: Settings,
        row: dict[str, Any],
    ) -> None:
        """Rows have no index of their own by user; each way to look for them finds what the others do not."""
        old, target, peer, *_ = people
        await apply(conn, [merged(old, target)])
        made = await threads.group(peer, [old, people[3]])
        columns = {name: value for name, value in row.items() if name != "deleted"}
        if columns:
            await threads.update(made, old, **columns)
        if "deleted" in row:
            await threads.delete_message(made, made, old)
            await threads.update(made, old, last_message_at=None, starred=False)

        assert await MergeSweeper(settings, pool, NoPublisher).sweep() == 1

        assert set(await participant_rows(conn, made)) == {peer, target, people[3]}


NoPublisher: Any = None  # sweeping merges publishes nothing


async def test_as_many_statements_for_a_thousand_conversations_as_for_one(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    old, target, *others = await institution.users(1002)
    await conn.execute(
        "INSERT INTO sends (author_id, created_at, body, private, root_account_ids)"
        " VALUES ($1, now(), 'x', true, '{1}')",
        old,
    )
    await conn.execute(
        "INSERT INTO conversations SELECT n, (SELECT max(id) FROM sends), 0, 0, false, false"
        " FROM generate_series(1, 2000) n"
    )
    for side, first in ((old, 0), (target, 1000)):
        await conn.execute(
            "INSERT INTO participants (conversation_id, user_id, last_message_at, visible_last_authored_at,"
            " private_peer_id, private_context, tag_set, message_count, unread, has_attachments, has_media_objects)"
            " SELECT n + $2, s.user_id, now(), now(), CASE WHEN s.user_id = $1 THEN u END,"
            " CASE WHEN s.user_id = $1 THEN 0 END, 0, 1, true, false, false"
            " FROM unnest($3::bigint[]) WITH ORDINALITY AS o(u, n), LATERAL (VALUES ($1), (u)) AS s(user_id)",
            side,
            first,
            others,
        )
    statements: list[str] = []
    with conn.query_logger(lambda record: statements.append(record.query)):
        await apply(conn, [merged(old, target)])
    named = [statement for statement in statements if statement.startswith("-- ")]
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 1000
    assert await conn.fetchval("SELECT count(*) FROM participants WHERE message_count = 2") == 2000
    assert len(named) == 17


async def test_merges_and_sends_that_meet_wait_for_each_other(
    conn: asyncpg.Connection, pool: asyncpg.Pool, pairs: Pairs, people: list[int]
) -> None:
    first, second, third, peer, other = people
    for user in (first, second, third):
        for writer in (peer, other):
            await pairs.send(writer, user)

    async def apply_alone(event: DirectoryEvent) -> None:
        async with pool.acquire() as own:
            await apply(own, [event])

    await asyncio.gather(*(apply_alone(event) for event in [merged(first, second), merged(second, third)] * 3))
    assert set(await seen(conn)) == {third, peer, other}
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 2
    await check_invariants(conn)


async def test_a_send_that_meets_a_merge_is_not_lost(
    conn: asyncpg.Connection, pool: asyncpg.Pool, pairs: Pairs, people: list[int]
) -> None:
    old, target, peer, *_ = people
    made = await pairs.send(peer, old, "1")
    send = await conn.fetchval(
        "INSERT INTO sends (author_id, created_at, body, private, root_account_ids)"
        " VALUES ($1, now(), '2', true, '{1}') RETURNING id",
        peer,
    )
    now = datetime.now(UTC)
    message = Message(send, peer, now, private=True, context_key=0, has_attachments=False, has_media_objects=False)

    async def deliver() -> None:
        async with pool.acquire() as own:
            await deliveries.deliver(
                own,
                message,
                first_id=700_000,
                tag_sets=[0],
                own_tag_sets=[0],
                sender_tag_sets=[0],
                recipients=[old],
                cause=None,
            )

    async with pool.acquire() as merging, merging.transaction():
        await apply(merging, [merged(old, target)])
        sending = asyncio.create_task(deliver())
        await until_waiting(conn)
    await sending
    async with conn.transaction():
        assert await follow_up(conn) == 1
    assert await pairs.between(peer, target) == [made]
    assert await bodies(conn, made, target) == ["1", "2"]
