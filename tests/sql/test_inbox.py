import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from service.domain.scopes import Criteria, Scope
from sql import inbox
from sql.statements import STATEMENTS
from tests.support.conversations import START, Threads
from tests.support.institution import Institution

ANYTHING = Criteria()


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return await institution.users(5)


async def page(conn: asyncpg.Connection, user: int, scope: Scope) -> list[int]:
    """The list, after asking every statement about it: they have to agree."""
    found, total = await inbox.list_page(conn, user, scope, 100, 0)
    assert await inbox.list_ids(conn, user, scope, ANYTHING) == found
    assert (total or 0) == len(found)
    _, counted = await inbox.list_page(conn, user, scope, 1, 0)
    assert counted == total
    everything = [r["id"] for r in await conn.fetch("SELECT id FROM conversations")]
    assert await inbox.listed(conn, user, scope, ANYTHING, everything) == set(found)
    return found


async def test_the_inbox_shows_what_was_received_newest_first(
    conn: asyncpg.Connection, people: list[int], threads: Threads
) -> None:
    me, *others = people
    first, second, third = [await threads.private(other, me) for other in others[:3]]
    await threads.private(me, others[3])
    await threads.reply(first, others[0])
    await threads.update(second, me, archived=True)

    assert await page(conn, me, Scope.INBOX) == [first, third]
    assert await page(conn, me, Scope.ARCHIVED) == [second]


async def test_equal_times_are_ordered_by_conversation_id(
    conn: asyncpg.Connection, people: list[int], threads: Threads
) -> None:
    me, other = people[:2]
    made = [await threads.private(other, me) for _ in range(3)]
    for conversation in made:
        await threads.update(conversation, me, last_message_at=START)
        await threads.update(conversation, other, visible_last_authored_at=START)

    assert await page(conn, me, Scope.INBOX) == made[::-1]
    assert await page(conn, other, Scope.SENT) == made[::-1]


async def test_unread_are_neither_read_nor_archived(
    conn: asyncpg.Connection, people: list[int], threads: Threads
) -> None:
    me, *others = people
    fresh, read, archived = [await threads.private(other, me) for other in others[:3]]
    await threads.update(read, me, unread=False)
    await threads.update(archived, me, archived=True)

    assert await page(conn, me, Scope.UNREAD) == [fresh]
    assert await inbox.unread_count(conn, me) == 1


async def test_unread_but_never_received_does_not_count(
    conn: asyncpg.Connection, people: list[int], threads: Threads
) -> None:
    me, other = people[:2]
    await threads.update(await threads.private(me, other), me, unread=True)

    assert await page(conn, me, Scope.UNREAD) == []
    assert await inbox.unread_count(conn, me) == 0


async def test_sent_follows_what_the_user_wrote(conn: asyncpg.Connection, people: list[int], threads: Threads) -> None:
    me, *others = people
    first, second = await threads.private(me, others[0]), await threads.private(me, others[1])
    received = await threads.private(others[2], me)
    await threads.update(second, me, archived=True)
    assert await page(conn, me, Scope.SENT) == [second, first]

    await threads.reply(first, me)
    await threads.reply(received, me)

    assert await page(conn, me, Scope.SENT) == [received, first, second]


async def test_starred_shows_any_state_by_the_last_touch(
    conn: asyncpg.Connection, people: list[int], threads: Threads
) -> None:
    me, *others = people
    received, archived = [await threads.private(other, me) for other in others[:2]]
    never_received = await threads.private(me, others[2])
    plain = await threads.private(others[3], me)
    for conversation in (received, archived, never_received):
        await threads.update(conversation, me, starred=True)
    await threads.update(archived, me, archived=True)
    assert await page(conn, me, Scope.STARRED) == [never_received, archived, received]

    await threads.update(received, me, touched_at=START + timedelta(days=1))

    assert await page(conn, me, Scope.STARRED) == [received, never_received, archived]
    assert plain in await page(conn, me, Scope.INBOX)


async def test_a_deleted_conversation_is_in_no_list(
    conn: asyncpg.Connection, people: list[int], threads: Threads
) -> None:
    me, other = people[:2]
    deleted = await threads.private(other, me)
    await threads.reply(deleted, me)
    await threads.delete(deleted, me)
    await threads.update(deleted, me, starred=True)  # a batch update may do that later

    for scope in Scope:
        assert await page(conn, me, scope) == []
    assert await page(conn, other, Scope.INBOX) == [deleted]


async def test_pages_are_slices_of_the_list(conn: asyncpg.Connection, people: list[int], threads: Threads) -> None:
    me, other = people[:2]
    made = [await threads.private(other, me) for _ in range(7)][::-1]

    pages = [await inbox.list_page(conn, me, Scope.INBOX, 3, offset) for offset in (0, 3, 6, 9)]

    assert pages == [(made[:3], 7), (made[3:6], 7), (made[6:], 7), ([], None)]


async def test_a_page_knows_how_long_its_list_is(conn: asyncpg.Connection, people: list[int], threads: Threads) -> None:
    me, other = people[:2]
    received = [await threads.private(other, me) for _ in range(9)]
    for conversation in received[:2]:
        await threads.update(conversation, me, archived=True)
    for conversation in received[2:6]:
        await threads.update(conversation, me, unread=False)
    for conversation in received[1:7]:
        await threads.update(conversation, me, starred=True)
    for _ in range(5):
        await threads.private(me, other)

    totals = {scope: (await inbox.list_page(conn, me, scope, 1, 0))[1] for scope in Scope}

    assert totals == {Scope.INBOX: 7, Scope.UNREAD: 3, Scope.ARCHIVED: 2, Scope.SENT: 5, Scope.STARRED: 6}


class TestFilters:
    @pytest.fixture
    async def made(self, people: list[int], threads: Threads) -> dict[str, int]:
        me, ann, ben, cyd, _ = people
        return {
            "ann": await threads.private(ann, me, tags=["course_1"]),
            "ben": await threads.private(ben, me, tags=["course_2", "group_1"]),
            "all": await threads.group(ann, [me, ben, cyd], tags=["course_1", "group_1"]),
            "cyd": await threads.private(cyd, me),
        }

    @pytest.mark.parametrize(
        ("users", "codes", "needed", "shown"),
        [
            ((1,), (), 1, ["all", "ann"]),
            ((1, 2), (), 1, ["all", "ben", "ann"]),
            ((1, 2), (), 2, ["all"]),
            ((), ("course_1",), 1, ["all", "ann"]),
            ((), ("course_1", "course_2"), 1, ["all", "ben", "ann"]),
            ((), ("course_1", "group_1"), 2, ["all"]),
            ((3,), ("course_2",), 1, ["cyd", "all", "ben"]),
            ((3,), ("course_1",), 2, ["all"]),
            ((), ("course_9",), 1, []),
            ((4,), (), 1, []),
            ((), (), 1, []),
            ((), ("course_1",), 2, []),
        ],
    )
    async def test_match_users_and_tags(
        self,
        *,
        conn: asyncpg.Connection,
        people: list[int],
        made: dict[str, int],
        users: tuple[int, ...],
        codes: tuple[str, ...],
        needed: int,
        shown: list[str],
    ) -> None:
        wanted = Criteria(tuple(people[n] for n in users), codes, needed)

        found = await inbox.list_ids(conn, people[0], Scope.INBOX, wanted)

        assert found == [made[name] for name in shown]
        listed = await inbox.listed(conn, people[0], Scope.INBOX, wanted, list(made.values()))
        assert listed == set(found)

    async def test_look_at_the_users_own_tags(
        self, conn: asyncpg.Connection, people: list[int], threads: Threads, made: dict[str, int]
    ) -> None:
        await threads.update(made["ann"], people[0], tag_set=0)

        found = await inbox.list_ids(conn, people[0], Scope.INBOX, Criteria((), ("course_1",), 1))

        assert found == [made["all"]]


async def test_uuids_stand_for_users(conn: asyncpg.Connection, people: list[int]) -> None:
    found = await inbox.users_by_uuid(conn, [f"uuid-{people[1]}", "uuid-unknown"])

    assert found == {f"uuid-{people[1]}": people[1]}


@pytest.fixture
async def busy(conn: asyncpg.Connection) -> int:
    """A user with 5,000 conversations among as many of others, just written."""
    await conn.execute(
        "INSERT INTO participants (conversation_id, user_id, last_message_at, visible_last_authored_at, tag_set,"
        " message_count, unread, has_attachments, has_media_objects)"
        " SELECT n, CASE WHEN n % 2 = 0 THEN 101 ELSE 1000 + n % 500 END, now() - n * interval '1 minute',"
        " now() - n * interval '1 minute', 0, 1, true, false, false FROM generate_series(1, 10000) AS n"
    )
    return 101


FIRST_TEN = {"size": "10", "offset": "0"}
AMONG_FOUR = {"scope": "'inbox'", "conversation_ids": "'{2,4,6,7}'"}


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("analyzed", [True, False])
@pytest.mark.parametrize(
    ("statement", "parameters"),
    [
        ("list_page", FIRST_TEN | {"scope": "'inbox'"}),
        ("list_page", FIRST_TEN | {"scope": "'unread'"}),
        ("list_page", FIRST_TEN | {"scope": "'sent'"}),
        ("listed", AMONG_FOUR | {"filter_user_ids": "'{}'", "filter_codes": "'{}'", "needed": "0"}),
        ("listed", AMONG_FOUR | {"filter_user_ids": "'{1001}'", "filter_codes": "'{course_1}'", "needed": "1"}),
    ],
)
async def test_what_one_page_asks_costs_a_page_however_it_is_planned(
    *, conn: asyncpg.Connection, busy: int, mode: str, analyzed: bool, statement: str, parameters: dict[str, str]
) -> None:
    if analyzed:
        await conn.execute("ANALYZE participants")

    plan = await explained(conn, mode, statement, parameters | {"user_id": str(busy)})

    # How long a list is that is longer than its page has to be counted; the page itself is read alone.
    pages = [node for node in plan.get("Plans", ()) if node.get("Subplan Name") == "CTE page"]
    assert sum(map(_rows_read, pages or [plan])) < 200, plan


async def explained(conn: asyncpg.Connection, mode: str, statement: str, literals: dict[str, str]) -> dict[str, Any]:
    """The plan of a statement that was run, and what it read; ``mode`` as plan_cache_mode takes it."""
    await conn.execute(f"SET plan_cache_mode = {mode}")
    found = STATEMENTS[statement]
    await conn.execute(f"PREPARE asked AS {found.text}")
    arguments = ", ".join(literals[name] for name in found.parameters)
    try:
        plan = await conn.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, VERBOSE, FORMAT JSON) EXECUTE asked ({arguments})")
    finally:
        await conn.execute("DEALLOCATE asked")
    (whole,) = json.loads(plan)
    top: dict[str, Any] = whole["Plan"]
    return top


def _rows_read(node: dict[str, Any]) -> int:
    own = (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
    return int(own if "Scan" in node["Node Type"] else 0) + sum(map(_rows_read, node.get("Plans", ())))


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("statement", ["list_ids", "listed"])
async def test_a_conversation_costs_the_same_however_many_filters_there_are(
    *, conn: asyncpg.Connection, mode: str, statement: str
) -> None:
    """A long list under many filters would cost one times the other: each is looked up in a hash instead."""
    await conn.execute(
        "INSERT INTO participants (conversation_id, user_id, last_message_at, visible_last_authored_at, tag_set,"
        " message_count, unread, has_attachments, has_media_objects)"
        " SELECT n, u, now(), now(), 0, 1, true, false, false"
        " FROM generate_series(1, 200) AS n, unnest(ARRAY[101, 1000 + n]) AS u"
    )
    conversations = ",".join(map(str, range(1, 201)))

    async def plan(filters: int) -> dict[str, Any]:
        users, codes = ",".join(str(7_000 + n) for n in range(filters)), ",".join(f"course_{n}" for n in range(filters))
        literals = {"user_id": "101", "scope": "'inbox'", "conversation_ids": f"'{{{conversations}}}'", "needed": "1"}
        literals |= {"filter_user_ids": f"'{{{users}}}'", "filter_codes": f"'{{{codes}}}'"}
        return await explained(conn, mode, statement, literals)

    few, many = await plan(11), await plan(500)

    assert _buffers(many) < 1.5 * _buffers(few)
    texts = [str(value) for node in _nodes(many) for value in (node.get("Output"), node.get("Filter"))]
    hashed = [text for text in texts if "hashed SubPlan" in text]
    assert any("count(*) FILTER" in text for text in hashed), "users are not looked up in a hash"
    assert any("IS TRUE" in text for text in hashed), "codes are not looked up in a hash"


def _buffers(plan: dict[str, Any]) -> int:
    return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", ()) for node in _nodes(child))]
