"""Accounts that are merged after a request has found out whom it is for, and before it stores that."""

import asyncio
from dataclasses import replace

import asyncpg
import pytest

from service.application.directory.events import apply
from service.application.directory.merge import follow_up
from service.application.messages import add_recipients, reply
from service.application.messages.add_recipients import AddRecipients
from service.application.messages.chunk import deliver_at_once
from service.application.messages.create import Accepted, Created, Validated, carry_out, validate
from service.application.messages.create_request import CreateConversation
from service.application.messages.reply import Queued, Written
from service.application.messages.reply_checks import AddMessage
from service.application.messages.tag_sets import TagSets
from service.application.messages.work import Work
from service.application.transactions import committed
from service.runtime.ids import IdBlocks
from service.runtime.settings import Settings
from sql.connection import Connection
from tests.support.batches import pending
from tests.support.school import School
from tests.support.user_merges import check_invariants, merged, until_waiting


@pytest.fixture
def work(settings: Settings) -> Work:
    return Work(settings, IdBlocks(), TagSets(), cause=None)


async def copies(conn: asyncpg.Connection, sender: int) -> dict[int, int]:
    """Messages by user, without the sender's."""
    rows = await conn.fetch(
        "SELECT user_id, sum(message_count)::integer AS copies FROM participants WHERE user_id <> $1 GROUP BY 1", sender
    )
    return {row["user_id"]: row["copies"] for row in rows}


async def counted(conn: asyncpg.Connection) -> tuple[object, ...]:
    """State, total, delivered, failed and skipped of the one batch."""
    row = await conn.fetchrow("SELECT state, total, delivered, failed, skipped FROM batches")
    assert row is not None
    return tuple(row)


async def move_what_came_late(conn: asyncpg.Connection) -> None:
    """As the worker of merges does from time to time."""
    async with conn.transaction():
        await follow_up(conn)


async def store_after(
    conn: Connection,
    pool: asyncpg.Pool,
    work: Work,
    asked: tuple[CreateConversation, Validated],
    *merges: tuple[int, int],
) -> Accepted | Created:
    """Carries the request out; the merges commit while it waits for them."""

    async def store() -> Accepted | Created:
        async with pool.acquire() as own:
            return await committed(own, lambda: carry_out(work, own, *asked))

    async with pool.acquire() as other, other.transaction():
        await apply(other, [merged(old, target) for old, target in merges])
        storing = asyncio.create_task(store())
        await until_waiting(conn)
    return await storing


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_a_bulk_send_to_an_account_and_its_target(
    *, conn: asyncpg.Connection, pool: asyncpg.Pool, work: Work, school: School, asynchronous: bool
) -> None:
    """The target is a recipient too, or is not, or is one at the end of two merges; or is the sender."""
    first, second, third, fourth, fifth, sixth, *_ = school.students
    new = school.students[20]
    send = CreateConversation(
        author_id=school.teacher,
        body="Hello",
        recipients=[str(user) for user in (first, second, third, fourth, fifth, sixth)],
        group_conversation=True,
        bulk_message=True,
        asynchronous=asynchronous,
    )
    plan = await validate(work, conn, send)

    merges = [(first, second), (third, new), (fourth, fifth), (fifth, second), (sixth, school.teacher)]
    outcome = await store_after(conn, pool, work, (send, plan), *merges)
    if isinstance(outcome, Accepted):
        for position in await pending(conn, outcome.batch_id):
            async with conn.transaction():
                await deliver_at_once(conn, work.tag_sets, outcome.batch_id, position, cause=None)
    await move_what_came_late(conn)

    assert await copies(conn, school.teacher) == {second: 1, new: 1}
    assert await counted(conn) == ("sent", 6, 2, 0, 4)
    await check_invariants(conn)


async def test_a_bulk_send_whose_sender_becomes_a_recipient(
    conn: asyncpg.Connection, pool: asyncpg.Pool, work: Work, school: School
) -> None:
    first, second, *_ = school.students
    send = CreateConversation(
        author_id=school.teacher,
        body="Hello",
        recipients=[str(first), str(second)],
        group_conversation=True,
        bulk_message=True,
    )
    plan = await validate(work, conn, send)

    await store_after(conn, pool, work, (send, plan), (school.teacher, second))
    await move_what_came_late(conn)

    assert await copies(conn, second) == {first: 1}
    assert await counted(conn) == ("sent", 2, 1, 0, 1)
    await check_invariants(conn)


async def test_a_group_with_an_account_and_its_target(conn: asyncpg.Connection, work: Work, school: School) -> None:
    first, second, third, *_ = school.students
    send = CreateConversation(
        author_id=school.teacher,
        body="Hello",
        recipients=[str(first), str(second), str(third)],
        group_conversation=True,
    )
    plan = await validate(work, conn, send)

    await apply(conn, [merged(first, second)])
    await committed(conn, lambda: carry_out(work, conn, send, plan))
    await move_what_came_late(conn)

    assert await copies(conn, school.teacher) == {second: 1, third: 1}


@pytest.mark.parametrize("before", [(2,), (1, 2)])
async def test_an_account_that_is_added_to_its_targets_group(
    *, conn: asyncpg.Connection, work: Work, school: School, before: tuple[int, ...]
) -> None:
    """The target was in it, or is added together with the account."""
    first, second, third, *_ = school.students
    there = [str(school.students[place]) for place in before]
    send = CreateConversation(author_id=school.teacher, body="Hello", recipients=there, group_conversation=True)
    group = await carry_out(work, conn, send, await validate(work, conn, send))
    assert isinstance(group, Created)
    adding = AddRecipients(school.teacher, group.conversation_ids[0], [str(first), str(second)])
    checked = await add_recipients.validate(work, conn, adding)

    await apply(conn, [merged(first, second)])
    await committed(conn, lambda: add_recipients.carry_out(work, conn, adding, checked))
    await move_what_came_late(conn)

    assert await copies(conn, school.teacher) == {second: 1, third: 1}


@pytest.mark.parametrize("group", [True, False])
@pytest.mark.parametrize("queued", [True, False])
async def test_a_reply_to_an_account_reaches_its_target(
    *, conn: asyncpg.Connection, work: Work, school: School, group: bool, queued: bool
) -> None:
    """Where an account has no more row of its own, its target stands for it."""
    first, second, third, *_ = school.students
    send = CreateConversation(
        author_id=school.teacher,
        body="Hello",
        recipients=[str(first), str(third)] if group else [str(first)],
        group_conversation=group,
    )
    made = await carry_out(work, conn, send, await validate(work, conn, send))
    assert isinstance(made, Created)
    (conversation,) = made.conversation_ids
    answer = AddMessage(author_id=school.teacher, body="Again", conversation_id=conversation, recipients=[str(first)])
    checked = await reply.validate(work, conn, answer)
    work = replace(work, settings=work.settings.model_copy(update={"queued_reply_participants": 0 if queued else 500}))

    await apply(conn, [merged(first, second)])
    outcome = await committed(conn, lambda: reply.carry_out(work, conn, answer, checked))
    if isinstance(outcome, Queued):
        async with conn.transaction():
            turn = await reply.next_turn(conn, conversation, outcome.reply_id)
            assert turn is not None
            await reply.deliver_queued(conn, work.tag_sets, turn, cause=None)
    await move_what_came_late(conn)

    assert isinstance(outcome, Queued if queued else Written)
    assert await copies(conn, school.teacher) == {second: 2} | ({third: 1} if group else {})
    await check_invariants(conn)
