"""Replies below HTTP: who is in time, who waits, what a crowd may do at once."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from service.application.messages import add_recipients
from service.application.messages.add_recipients import AddRecipients
from service.application.messages.reply import (
    UNCOMMANDED_AFTER,
    Queued,
    Written,
    carry_out,
    deliver_queued,
    next_turn,
    validate,
)
from service.application.messages.reply_checks import AddMessage
from service.application.messages.tag_sets import TagSets
from service.application.messages.work import Work
from service.domain.errors import Code, Refusal
from service.runtime.ids import IdBlocks
from service.runtime.settings import Settings
from sql import pending_replies
from tests.support.conversations import Threads
from tests.support.participants import messages_of, participant_rows
from tests.support.school import School

Reply = Callable[..., Awaitable[Written | Queued]]


@pytest.fixture
def reply_settings(settings: Settings) -> Settings:
    """Groups of five and their founder; replies are queued from four participants on."""
    return settings.model_copy(update={"max_group_conversation_size": 5, "queued_reply_participants": 4})


@pytest.fixture
def reply(pool: asyncpg.Pool, reply_settings: Settings) -> Reply:
    """Replies on a connection of its own, so that replies can meet."""
    work = Work(reply_settings, IdBlocks(), TagSets(), cause=None)

    async def run(author: int, conversation: int, body: str = "Reply", **more: Any) -> Written | Queued:
        async with pool.acquire() as conn:
            command = AddMessage(author_id=author, conversation_id=conversation, body=body, **more)
            plan = await validate(work, conn, command)
            async with conn.transaction():
                return await carry_out(work, conn, command, plan)

    return run


async def deliver(conn: asyncpg.Connection, conversation: int, commanded: int = 0) -> int:
    """What a worker does; how many replies that wrote."""
    delivered = 0
    while True:
        async with conn.transaction():
            turn = await next_turn(conn, conversation, commanded)
            if turn is None:
                return delivered
            await deliver_queued(conn, TagSets(), turn, cause=None)
        delivered += 1


async def test_replies_at_the_same_moment_are_one_after_the_other(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    people = [school.teacher, *school.students[:2]]
    conversation = await threads.group(school.teacher, school.students[:2])

    await asyncio.gather(*(reply(people[n % 3], conversation, f"{n}") for n in range(12)))

    assert {
        user: row["message_count"] for user, row in (await participant_rows(conn, conversation)).items()
    } == dict.fromkeys(people, 13)
    times = await conn.fetch("SELECT created_at FROM sends ORDER BY created_at")
    assert len({row["created_at"] for row in times}) == 13


async def test_two_who_let_in_the_last_one_do_not_both_succeed(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    outcomes = await asyncio.gather(
        reply(school.teacher, conversation, recipients=[str(s) for s in school.students[2:5]]),
        reply(school.students[0], conversation, recipients=[str(s) for s in school.students[5:8]]),
        return_exceptions=True,
    )
    assert {type(outcome) for outcome in outcomes} == {Written, Refusal}
    assert len(await participant_rows(conn, conversation)) == 6


async def test_people_about_to_join_take_up_room(
    reply: Reply, threads: Threads, school: School, reply_settings: Settings, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:4])
    assert isinstance(await reply(school.teacher, conversation, recipients=[str(school.students[4])]), Queued)
    with pytest.raises(Refusal, match="Too many participants"):
        await reply(school.teacher, conversation, recipients=[str(school.students[5])])
    work = Work(reply_settings, IdBlocks(), TagSets(), cause=None)
    command = AddRecipients(school.teacher, conversation, [str(school.students[5])])
    plan = await add_recipients.validate(work, conn, command)
    with pytest.raises(Refusal, match="too many participants"):
        await add_recipients.carry_out(work, conn, command, plan)


async def test_two_who_add_the_same_people_add_them_once(
    threads: Threads, school: School, settings: Settings, pool: asyncpg.Pool, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:2])
    work = Work(settings, IdBlocks(), TagSets(), cause=None)

    async def add(user: int) -> None:
        command = AddRecipients(user, conversation, [str(s) for s in school.students[2:5]])
        async with pool.acquire() as own:
            plan = await add_recipients.validate(work, own, command)
            async with own.transaction():
                await add_recipients.carry_out(work, own, command, plan)

    await asyncio.gather(add(school.teacher), add(school.students[0]), add(school.students[1]))

    assert len(await participant_rows(conn, conversation)) == 6
    assert await conn.fetchval("SELECT count(*) FROM messages") == 1


async def test_queued_replies_are_delivered_in_order_with_all_they_carry(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    meant, new = school.students[0], school.students[4]
    conversation = await threads.group(school.teacher, school.students[:4], tags=[f"course_{school.course}"])
    secret = await threads.reply(conversation, school.teacher, "Secret", only=[])
    before = await participant_rows(conn, conversation)
    await reply(school.teacher, conversation, "One", user_note=True)
    await reply(meant, conversation, "Two")
    await reply(
        school.teacher, conversation, "Three", recipients=[str(meant), str(new)], included_messages=[str(secret)]
    )
    assert await participant_rows(conn, conversation) == before

    assert await deliver(conn, conversation) == 3
    assert await deliver(conn, conversation) == 0

    after = await participant_rows(conn, conversation)
    everything = ["Hello, all", "Secret", "One", "Two", "Three"]
    assert [body for _, body in await messages_of(conn, conversation, meant)] == everything
    assert [body for _, body in await messages_of(conn, conversation, new)] == ["Secret", "Three"]
    assert [body for _, body in await messages_of(conn, conversation, school.students[1])] == [
        "Hello, all",
        "One",
        "Two",
    ]
    counts = {user: row["message_count"] for user, row in after.items()}
    assert counts == {school.teacher: 5, meant: 5, **dict.fromkeys(school.students[1:4], 3), new: 2}
    assert after[new]["codes"] == [f"course_{school.course}"]
    times = [row["created_at"] for row in await conn.fetch("SELECT created_at FROM sends ORDER BY id DESC LIMIT 3")]
    assert after[school.teacher]["last_authored_at"] == times[2]
    assert after[meant]["last_message_at"] == after[new]["history_from"] == times[0]
    assert await conn.fetchval("SELECT count(*) FROM journal_entries") == 4


async def test_nothing_overtakes_what_waits(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    """Not even where so few take part that nothing would have to wait."""
    conversation = await threads.group(school.teacher, school.students[:3])
    await reply(school.teacher, conversation, "One")
    await conn.execute("DELETE FROM participants WHERE user_id = $1", school.students[2])
    assert isinstance(await reply(school.teacher, conversation, "Two"), Queued)
    await deliver(conn, conversation)
    assert isinstance(await reply(school.teacher, conversation, "Three"), Written)
    bodies = [body for _, body in await messages_of(conn, conversation, school.teacher)]
    assert bodies == ["Hello, all", "One", "Two", "Three"]


async def test_time_does_not_run_backwards_in_a_conversation(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    """A message timed by a clock that is ahead stays before what answers it."""
    conversation = await threads.group(school.teacher, school.students[:2])
    ahead = datetime.now(UTC) + timedelta(minutes=5)
    await conn.execute("UPDATE sends SET created_at = $1", ahead)
    await threads.update(conversation, school.students[0], last_message_at=ahead)
    await reply(school.students[0], conversation)
    assert await conn.fetchval("SELECT max(created_at) FROM sends") == ahead + timedelta(microseconds=1)


async def test_what_waits_to_be_said_is_before_what_is_said_later(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    """Also where a clock that was ahead has timed it."""
    conversation = await threads.group(school.teacher, school.students[:3])
    await reply(school.teacher, conversation, "Waits")
    ahead = datetime.now(UTC) + timedelta(minutes=5)
    await conn.execute("UPDATE sends SET created_at = $1 WHERE body = 'Waits'", ahead)

    await reply(school.teacher, conversation, "Later")

    later = await conn.fetchval("SELECT created_at FROM sends WHERE body = 'Later'")
    assert later == ahead + timedelta(microseconds=1)


async def test_an_author_who_is_gone_by_then_writes_nothing(
    reply_settings: Settings, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    """The conversation was wiped for all between the checks and the writing."""
    work = Work(reply_settings, IdBlocks(), TagSets(), cause=None)
    conversation = await threads.group(school.teacher, school.students[:2])
    command = AddMessage(author_id=school.teacher, conversation_id=conversation, body="Late")
    plan = await validate(work, conn, command)
    await conn.execute("DELETE FROM participants")

    with pytest.raises(Refusal) as refused:
        async with conn.transaction():
            await carry_out(work, conn, command, plan)

    assert refused.value.code is Code.NOT_FOUND
    assert await conn.fetchval("SELECT count(*) FROM sends") == 1


async def test_a_failed_reply_holds_up_the_line_until_it_is_given_up(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    conversation = await threads.group(school.teacher, school.students[:3])
    first = await reply(school.teacher, conversation, "One")
    second = await reply(school.teacher, conversation, "Two")
    assert isinstance(first, Queued)
    assert isinstance(second, Queued)
    wait = timedelta(minutes=10)

    async def fail(waited: timedelta = timedelta()) -> int | None:
        """One more failure, when so much time has passed since the last that counted."""
        await conn.execute("UPDATE pending_replies SET tried_at = now() - $1::interval WHERE attempts > 0", waited)
        return await pending_replies.postpone_reply(conn, first.reply_id, error="broken", first_wait=wait)

    assert await fail() == 1
    assert await fail() is None
    async with conn.transaction():
        assert await next_turn(conn, conversation, second.reply_id) is None
        turn = await next_turn(conn, conversation, first.reply_id)
    assert turn is not None
    assert turn.waiting.id == first.reply_id
    assert await fail(wait) == 2
    waits = await conn.fetchval("SELECT due_at - tried_at FROM pending_replies WHERE id = $1", first.reply_id)
    assert waits == 2 * wait
    assert await fail(wait) is None
    assert await fail(2 * wait) == 3
    await pending_replies.fail_reply(conn, first.reply_id, error="broken")
    assert await fail(9 * wait) is None
    assert await deliver(conn, conversation) == 1
    kept = await conn.fetch("SELECT id, error, attempts FROM pending_replies")
    assert [tuple(row) for row in kept] == [(first.reply_id, "broken", 3)]


async def test_the_sweeper_takes_the_first_of_every_line(
    reply: Reply, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    lines = [await threads.group(school.teacher, school.students[:3]) for _ in range(2)]
    outcomes = [await reply(school.teacher, line, f"{n}") for n in range(2) for line in lines]
    queued = [outcome for outcome in outcomes if isinstance(outcome, Queued)]
    firsts = [outcome.reply_id for outcome in queued[:2]]

    async def take() -> list[int]:
        due = await pending_replies.take_due_replies(conn, patience=timedelta(minutes=5), limit=10)
        return sorted(id_ for id_, _ in due)

    left_alone_for = await conn.fetchval(
        "SELECT min(r.due_at - s.created_at) FROM pending_replies r JOIN sends s ON s.id = r.send_id"
    )
    assert left_alone_for > UNCOMMANDED_AFTER / 2
    await conn.execute("UPDATE pending_replies SET due_at = now()")
    assert await take() == firsts
    assert await take() == []

    # One that is given up lets those behind it pass.
    await pending_replies.fail_reply(conn, firsts[0], error="broken")
    assert await take() == [queued[2].reply_id]


async def test_the_checks_of_a_reply_ask_nothing_twice(
    settings: Settings, threads: Threads, school: School, conn: asyncpg.Connection
) -> None:
    """The author's rights are loaded once, for the conversation's context and for all that the request names."""
    work = Work(settings, IdBlocks(), TagSets(), cause=None)
    conversation = await threads.group(school.teacher, school.students[:3])
    await conn.execute("UPDATE sends SET context_type = 'Course', context_id = $1", school.course)
    request = AddMessage(
        author_id=school.teacher,
        conversation_id=conversation,
        body="Reply",
        recipients=[str(school.students[4]), f"course_{school.course}_tas"],
    )
    asked: list[str] = []
    with conn.query_logger(lambda query: asked.append(query.query)):
        await validate(work, conn, request)
        await asyncio.sleep(0)  # the driver calls the logger from the event loop's queue

    # The driver's own look at types, once per connection, is not ours.
    ours = [query for query in asked if "pg_catalog" not in query and "set_config" not in query]
    assert len(ours) == len(set(ours)) <= 13
