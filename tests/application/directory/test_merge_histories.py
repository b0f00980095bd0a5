"""Merges in the middle of anything else that happens, in any order."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import permutations
from typing import Any

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.application.directory.events import apply
from service.application.directory.merge import follow_up
from service.contracts.directory import DirectoryEvent
from tests.support.chance import as_often
from tests.support.conversations import Threads
from tests.support.participants import messages_of, participant_row, participant_rows
from tests.support.user_merges import Pairs, check_invariants, everything, merged, seen

USER = st.integers(0, 4)
STEP = st.one_of(
    st.tuples(st.just("private"), USER, USER, st.integers(0, 1)),
    st.tuples(st.just("group"), USER, st.lists(USER, min_size=2, max_size=4, unique=True)),
    st.tuples(st.just("reply"), st.integers(0, 5), st.none() | st.lists(USER, max_size=2, unique=True)),
    st.tuples(st.just("delete"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("state"), st.integers(0, 5), st.sampled_from(["read", "unread", "archived"])),
)
MERGE = st.tuples(st.just("merge"), st.lists(st.tuples(USER, USER), min_size=1, max_size=2))


async def take(step: Sequence[Any], conn: asyncpg.Connection, threads: Threads, people: list[int]) -> None:
    """One step of a user; nothing when there is nothing to do it with."""
    kind, first, *more = step
    if kind == "private":
        await Pairs(conn, threads).send(people[first], people[more[0]], context=more[1])
        return
    if kind == "group":
        await threads.group(people[first], [people[user] for user in more[0]])
        return
    held = await conn.fetch("SELECT conversation_id, user_id FROM participants ORDER BY 1, 2")
    if not held:
        return
    conversation, user = held[(first * 7) % len(held)]
    if kind == "reply":
        members = await participant_rows(conn, conversation)
        only = None if more[0] is None else [people[u] for u in more[0] if people[u] in members]
        await threads.reply(conversation, user, only=only)
    elif kind == "delete":
        await remove(conn, threads, conversation, user, everything=more[0])
    else:
        shown = (await participant_row(conn, conversation, user))["message_count"] > 0
        state = more[0] if shown else "read"
        await threads.update(conversation, user, unread=state == "unread", archived=state == "archived")


async def remove(conn: asyncpg.Connection, threads: Threads, conversation: int, user: int, *, everything: bool) -> None:
    had = await messages_of(conn, conversation, user)
    if everything or len(had) < 2:
        await threads.delete(conversation, user)
    else:
        await threads.delete_message(conversation, had[0][0], user)
        await threads.update(conversation, user, message_count=len(had) - 1)


@given(steps=st.lists(st.one_of(STEP, STEP, STEP, MERGE), max_size=25))
@settings(max_examples=as_often(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_whatever_happens_no_user_loses_a_message(conn: asyncpg.Connection, steps: list[Sequence[Any]]) -> None:
    people = [11, 12, 13, 14, 15]
    transaction = conn.transaction()
    await transaction.start()
    threads = Threads(conn)
    targets: dict[int, int] = {}

    def target(user: int) -> int:
        return target(targets[user]) if user in targets else user

    try:
        for number, step in enumerate(steps):
            if step[0] != "merge":
                await take(step, conn, threads, people)
                continue
            events = []
            for one, other in step[1]:
                old, new = people[one], people[other]
                if old not in targets and target(new) != old:
                    targets[old] = new
                    events.append(merged(old, new, number))
            before = await seen(conn)
            if number % 2:
                await follow_up(conn)
            await apply(conn, events)
            await follow_up(conn)
            expected: defaultdict[int, set[tuple[int, int]]] = defaultdict(set)
            for user, messages in before.items():
                expected[target(user)] |= messages
            assert await seen(conn) == expected
            assert not set(targets) & {row["user_id"] for row in await conn.fetch("SELECT user_id FROM participants")}
            assert not set(targets) & {row["author_id"] for row in await conn.fetch("SELECT author_id FROM sends")}
            await check_invariants(conn)
    finally:
        await transaction.rollback()


async def state_after(conn: asyncpg.Connection, sets: Iterable[Sequence[DirectoryEvent]]) -> Any:
    transaction = conn.transaction()
    await transaction.start()
    try:
        for events in sets:
            await apply(conn, events)
        return await everything(conn)
    finally:
        await transaction.rollback()


@given(steps=st.lists(STEP, min_size=4, max_size=20), chain=st.permutations([11, 12, 13, 14, 15]))
@settings(max_examples=as_often(15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_a_chain_received_in_any_order_again_or_at_once_ends_the_same(
    conn: asyncpg.Connection, steps: list[Sequence[Any]], chain: list[int]
) -> None:
    transaction = conn.transaction()
    await transaction.start()
    threads = Threads(conn)
    events = [merged(chain[n], chain[n + 1], n) for n in range(3)]
    try:
        for step in steps:
            # Which thread of letters among the merged stays is a matter of the order; what they say is not, see above.
            letter = step[0] == "private" and step[1] != step[2]
            if not letter or chain[4] in (sorted(chain)[step[1]], sorted(chain)[step[2]]):
                await take(step, conn, threads, sorted(chain))
        in_order = await state_after(conn, [[event] for event in events])
        assert await state_after(conn, [events]) == in_order
        assert await state_after(conn, [events, events[:1], events]) == in_order
        for order in permutations(events):
            assert await state_after(conn, [[event] for event in order]) == in_order
    finally:
        await transaction.rollback()
