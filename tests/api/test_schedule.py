"""send_at of POST and PUT (CONTRACT 3.1, 3.2): what is accepted for later, and moved."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from service.application.messages.schedule import start_next
from service.runtime.settings import Settings
from sql.schedule import take_scheduled
from tests.support.http_calls import NOT_FOUND, call
from tests.support.schedules import Schedules, fall_due, states
from tests.support.school import School
from tests.support.waiting import until

Token = Callable[..., Awaitable[dict[str, str]]]
INVALID = [{"attribute": "send_at", "message": "invalid"}]
DAY = timedelta(days=1)


class Sender:
    """The teacher of the school."""

    def __init__(self, client: ClientSession, headers: dict[str, str], school: School, now: datetime) -> None:
        self._client, self.headers = client, headers
        self.student = str(school.students[0])
        self.course = f"course_{school.course}"
        self.now = now

    async def post(self, status: int = 202, **parts: Any) -> tuple[Any, int]:
        """The answer's JSON, and the batch's id, 0 without."""
        sent = {"recipients": [self.student], "body": "Hello", **parts}
        async with self._client.post("/api/v1/conversations", headers=self.headers, json=sent) as response:
            assert response.status == status, await response.text()
            return await response.json(), int(response.headers.get("X-Conversation-Batch-Id", 0))

    async def show(self, batch: int) -> Any:
        """The batch."""
        return await call(self._client, self.headers, "GET", f"/conversations/batches/{batch}")

    async def move(self, batch: int, status: int = 200, **parts: Any) -> Any:
        """The answer's JSON."""
        path = f"/conversations/batches/{batch}"
        return await call(self._client, self.headers, "PUT", path, status=status, json=parts)


@pytest.fixture
async def sender(client: ClientSession, token: Token, school: School, conn: asyncpg.Connection) -> Sender:
    """The teacher of the school, and the database's time."""
    return Sender(client, await token(school.teacher), school, await conn.fetchval("SELECT now()"))


@pytest.fixture
def schedules(conn: asyncpg.Connection, settings: Settings, school: School) -> Schedules:
    """Scheduled sends of the school's teacher."""
    return Schedules(conn, settings, school)


BULK = {"group_conversation": True, "bulk_message": True}


@pytest.mark.parametrize(
    "parts", [{}, {"group_conversation": True}, {"force_new": True}, BULK, BULK | {"mode": "sync"}]
)
async def test_a_send_for_later_is_a_scheduled_batch_whatever_its_kind(sender: Sender, parts: dict[str, Any]) -> None:
    at = (sender.now + DAY).replace(microsecond=0)

    answer, batch = await sender.post(send_at=at.isoformat(), **parts)

    assert answer == []
    shown = await sender.show(batch)
    assert (shown["workflow_state"], shown["total"], shown["completion"]) == ("scheduled", 1, 0)
    assert datetime.fromisoformat(shown["send_at"]) == at
    assert [shown[name] for name in ("started_at", "finished_at", "eta", "error")] == [None] * 4
    assert shown["message"]["body"] == "Hello"


async def test_it_is_listed_among_the_scheduled(sender: Sender, client: ClientSession) -> None:
    _, batch = await sender.post(send_at=(sender.now + DAY).isoformat())
    listed = await call(client, sender.headers, "GET", "/conversations/batches?state[]=scheduled")
    assert [each["id"] for each in listed] == [batch]
    assert await call(client, sender.headers, "GET", "/conversations/batches") == []


@pytest.mark.parametrize(
    "wrong",
    [
        "2020-01-01T00:00:00Z",
        "2126-01-01T00:00:00Z",
        "2127-01-01",
        "tomorrow",
        1800000000,
        1.5,
        True,
        ["2020-01-01T00:00:00Z"],
        {"at": "2020-01-01T00:00:00Z"},
    ],
)
async def test_what_is_no_moment_ahead_is_refused_by_both(
    sender: Sender, conn: asyncpg.Connection, wrong: object
) -> None:
    _, batch = await sender.post(send_at=(sender.now + DAY).isoformat())

    assert (await sender.post(400, send_at=wrong))[0] == INVALID
    assert await sender.move(batch, 400, send_at=wrong) == INVALID
    assert await conn.fetchval("SELECT count(*) FROM sends") == 1


async def test_a_moment_without_a_zone_is_refused(sender: Sender) -> None:
    assert (await sender.post(400, send_at=(sender.now + DAY).replace(tzinfo=None).isoformat()))[0] == INVALID


async def test_366_days_are_the_longest(sender: Sender) -> None:
    assert (await sender.post(400, send_at=(sender.now + timedelta(days=366, minutes=10)).isoformat()))[0] == INVALID
    await sender.post(send_at=(sender.now + timedelta(days=366)).isoformat())


@pytest.mark.parametrize("empty", ["", "  ", None])
async def test_an_empty_one_is_as_good_as_none(sender: Sender, empty: str | None) -> None:
    made, _ = await sender.post(201, send_at=empty)
    assert len(made) == 1


@pytest.mark.parametrize("empty", [{}, {"send_at": ""}, {"send_at": None}])
async def test_to_move_a_batch_takes_a_time(sender: Sender, empty: dict[str, Any]) -> None:
    _, batch = await sender.post(send_at=(sender.now + DAY).isoformat())
    assert await sender.move(batch, 400, **empty) == INVALID


async def test_a_scheduled_batch_is_moved_and_told_again(
    sender: Sender, schedules: Schedules, conn: asyncpg.Connection
) -> None:
    _, batch = await sender.post(send_at=(sender.now + DAY).isoformat())
    at = (sender.now + 2 * DAY).replace(microsecond=0)

    moved = await sender.move(batch, send_at=at.isoformat())

    assert moved == await sender.show(batch)
    assert datetime.fromisoformat(moved["send_at"]) == at
    assert await conn.fetchval("SELECT due_at FROM scheduled_sends") == at
    assert await schedules.events() == [("batch_scheduled", "scheduled")] * 2


async def test_one_that_is_due_may_be_moved_before_it_starts_and_starts_when_moved_back(
    sender: Sender, schedules: Schedules, conn: asyncpg.Connection
) -> None:
    _, batch = await sender.post(send_at=(sender.now + DAY).isoformat())
    await fall_due(conn, batch)
    await sender.move(batch, send_at=(sender.now + DAY).isoformat())
    assert await start_next(conn, schedules.work) is None

    started = await schedules.start(batch)

    assert started.running


async def test_a_move_during_the_start_waits_for_it_and_comes_too_late(
    sender: Sender, schedules: Schedules, conn: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    _, batch = await sender.post(send_at=(sender.now + DAY).isoformat())
    await fall_due(conn, batch)
    async with pool.acquire() as other:
        whole = other.transaction()
        await whole.start()
        assert await start_next(other, schedules.work) is not None
        move = asyncio.create_task(sender.move(batch, 409, send_at=(sender.now + DAY).isoformat()))
        await until(lambda: blocked(conn))
        await whole.commit()

        assert await move == [{"attribute": "state", "message": "is created"}]
    assert set((await states(conn, batch)).values()) == {("pending", None)}


async def test_a_move_waits_for_the_start_before_it_locks_the_batch(
    sender: Sender, conn: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    """The other order would have the two wait for each other."""
    _, batch = await sender.post(send_at=(sender.now + DAY).isoformat())
    await fall_due(conn, batch)
    async with pool.acquire() as other:
        whole = other.transaction()
        await whole.start()
        assert await take_scheduled(other) is not None
        move = asyncio.create_task(sender.move(batch, send_at=(sender.now + DAY).isoformat()))
        await until(lambda: blocked(conn))

        await conn.execute("SELECT FROM batches WHERE id = $1 FOR UPDATE NOWAIT", batch)

        await whole.rollback()
        assert (await move)["workflow_state"] == "scheduled"


async def blocked(conn: asyncpg.Connection) -> bool:
    """Whether somebody waits for a lock in this database."""
    found: bool = await conn.fetchval(
        "SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    return found


@pytest.mark.parametrize("state", ["created", "sending", "paused", "sent", "cancelled", "error"])
@pytest.mark.parametrize("send_at", ["2020-01-01T00:00:00Z", "nonsense", "", "2027-06-01T00:00:00Z"])
async def test_in_any_other_state_it_is_a_conflict_whatever_the_time(
    sender: Sender, conn: asyncpg.Connection, state: str, send_at: str
) -> None:
    _, batch = await sender.post(send_at=(sender.now + DAY).isoformat())
    await conn.execute("UPDATE batches SET state = $1", state)
    before = await sender.show(batch)

    assert await sender.move(batch, 409, send_at=send_at) == [{"attribute": "state", "message": f"is {state}"}]
    assert before == await sender.show(batch)


async def test_one_that_is_not_the_callers_is_not_found(
    sender: Sender, client: ClientSession, token: Token, school: School
) -> None:
    _, batch = await sender.post(send_at=(sender.now + DAY).isoformat())
    at = {"send_at": (sender.now + DAY).isoformat()}
    assert await sender.move(batch + 1, 404, **at) == NOT_FOUND
    student = await token(school.students[0])
    path = f"/conversations/batches/{batch}"
    assert await call(client, student, "PUT", path, status=404, json=at) == NOT_FOUND


async def test_nobody_is_commanded_before_the_time(sender: Sender, conn: asyncpg.Connection, school: School) -> None:
    _, batch = await sender.post(
        send_at=(sender.now + DAY).isoformat(), recipients=[sender.course], context_code=sender.course, **BULK
    )
    assert set((await states(conn, batch)).values()) == {("pending", None)}
    assert set(await states(conn, batch)) == set(school.students)
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 0
