"""Messages seen in time: who reads has what was accepted for them, with or without a worker (CONTRACT 3.3)."""

import asyncio
from collections.abc import Sequence

import aiohttp
import asyncpg
import pytest

from service.runtime.settings import Settings
from tests.support.bulk_send_invariants import assert_delivered_once
from tests.support.early_delivery import Read, SendToAll, Token, states
from tests.support.event_consumer import event_consumer
from tests.support.http_calls import call
from tests.support.institution import Institution
from tests.support.school import School
from tests.support.waiting import until
from workers.relay import Relay


async def test_without_any_worker_everybody_who_looks_has_the_message(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection
) -> None:
    batch_id = await send()
    assert await states(conn) == ["pending"] * 3
    assert await unread(school.students[0]) == "1"
    assert await states(conn) == ["delivered", "pending", "pending"]
    assert await conn.fetchval("SELECT state FROM batches") == "sending"

    assert [await unread(student) for student in school.students] == ["1"] * len(school.students)

    await assert_delivered_once(conn, batch_id, school.students)


@pytest.mark.parametrize("scope", ["", "?scope=unread", "?filter[]=course_{}", "?include_all_conversation_ids=1"])
async def test_a_list_has_it_too(
    send: SendToAll, client: aiohttp.ClientSession, token: Token, school: School, scope: str
) -> None:
    await send("Greetings", context_code=f"course_{school.course}")
    listed = await call(client, await token(school.students[7]), "GET", "/conversations" + scope.format(school.course))
    listed = listed["conversations"] if isinstance(listed, dict) else listed
    assert [each["subject"] for each in listed] == ["Greetings"]


async def test_a_thread_that_is_shown_has_the_new_message(
    send: SendToAll, client: aiohttp.ClientSession, token: Token, school: School
) -> None:
    own = {"group_conversation": False, "context_code": f"course_{school.course}"}
    await send("First", **own)
    headers = await token(school.students[120])
    (thread,) = await call(client, headers, "GET", "/conversations")
    await send("Second", **own)
    shown = await call(client, headers, "GET", f"/conversations/{thread['id']}")
    assert [message["body"] for message in shown["messages"]] == ["Second", "First"]


async def test_what_was_accepted_first_is_delivered_first(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection
) -> None:
    """Of two sends to one thread the older one opens it, though nothing would be wrong with the other order."""
    own = {"group_conversation": False, "context_code": f"course_{school.course}"}
    older, _ = await send("First", **own), await send("Second", **own)
    assert await unread(school.students[0]) == "1"
    opened_by = "SELECT DISTINCT b.id FROM conversations c JOIN batches b ON b.send_id = c.send_id"
    assert [row["id"] for row in await conn.fetch(opened_by)] == [older]
    assert await conn.fetchval("SELECT count(*) FROM messages") == 100


async def test_who_is_no_recipient_has_nothing_delivered(
    send: SendToAll, unread: Read, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    """One beside them, and one between them who is left out."""
    left_out = school.students[50]
    await conn.execute("UPDATE enrollments SET workflow_state = 'deleted' WHERE user_id = $1", left_out)
    await send()
    for user in (left_out, school.teacher, await institution.user("Outsider")):
        assert await unread(user) == "0"
    assert await states(conn) == ["pending"] * 3


async def test_acting_as_a_recipient_has_the_recipients_message_delivered(
    send: SendToAll, client: aiohttp.ClientSession, token: Token, school: School, institution: Institution
) -> None:
    administrator = await institution.user("Administrator")
    await institution.admin(administrator)
    await send()
    path = f"/conversations/unread_count?as_user_id={school.students[3]}"
    assert await call(client, await token(administrator), "GET", path) == {"unread_count": "1"}


async def test_a_masquerading_recipient_has_nothing_of_their_own_delivered(
    *,
    send: SendToAll,
    client: aiohttp.ClientSession,
    token: Token,
    school: School,
    institution: Institution,
    conn: asyncpg.Connection,
) -> None:
    await institution.admin(school.students[0])
    await send()
    path = f"/conversations/unread_count?as_user_id={school.teacher}"
    assert await call(client, await token(school.students[0]), "GET", path) == {"unread_count": "0"}
    assert await states(conn) == ["pending"] * 3


@pytest.mark.parametrize("state", ["scheduled", "paused", "cancelled"])
async def test_a_batch_that_does_not_run_is_left_alone(
    send: SendToAll, unread: Read, school: School, conn: asyncpg.Connection, state: str
) -> None:
    await send()
    await conn.execute("UPDATE batches SET state = $1", state)
    assert await unread(school.students[0]) == "0"
    assert await states(conn) == ["pending"] * 3
    await conn.execute("UPDATE batches SET state = 'sending'")
    assert await unread(school.students[0]) == "1"


async def test_events_and_counters_are_those_of_a_worker(
    *,
    send: SendToAll,
    unread: Read,
    school: School,
    conn: asyncpg.Connection,
    edge_settings: Settings,
    pool: asyncpg.Pool,
) -> None:
    """They are recorded with the delivery, and go out as soon as a relay runs."""
    batch_id = await send()
    for student in (school.students[0], school.students[100], school.students[200]):
        assert await unread(student) == "1"
    causes = await conn.fetch("SELECT cause::text FROM outbox WHERE event = 'delivered' ORDER BY position")
    assert [f'"job_id": "deliver.{batch_id}.{n}"' in row["cause"] for n, row in enumerate(causes)] == [True] * 3
    async with event_consumer(edge_settings) as consumer:
        relay = Relay(edge_settings, pool)
        await relay.start()
        await until(lambda: relay.connected)
        work = asyncio.create_task(relay.run())
        await until(lambda: conn.fetchval("SELECT NOT EXISTS (SELECT FROM outbox)"))
        await until(lambda: len(consumer.received) == expected_events(school.students))
        relay.stop()
        await work
        await relay.drain()
    names = [each.event.name for each in consumer.received]
    assert names.count("batch_started") == names.count("batch_finished") == 1
    assert names.count("conversation_created") == names.count("conversation_message_created") == len(school.students)


def expected_events(students: Sequence[int]) -> int:
    """Two for each recipient; the batch's beginning, two steps and its end."""
    return 2 * len(students) + 4
