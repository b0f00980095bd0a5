"""The fuse: no sender starts more than so many recipients in 24 hours of the database's clock (CONTRACT 2)."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from service.runtime.settings import Settings
from tests.support.school import School

Token = Callable[..., Awaitable[dict[str, str]]]
Send = Callable[..., Awaitable[tuple[int, Any]]]
REFUSED = (400, [{"attribute": "recipients", "message": "daily limit exceeded"}])
LIMIT = 10


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """With a limit, and no throttle that would refuse parallel requests first."""
    return settings.model_copy(update={"sender_recipients_per_day": LIMIT, "throttle_maximum": 0})


@pytest.fixture
async def send(client: ClientSession, token: Token, school: School) -> Send:
    """(status, answer) of a message of the teacher's to so many students."""
    headers = await token(school.teacher)

    async def ask(people: int, **parts: Any) -> tuple[int, Any]:
        sent = {"recipients": [str(student) for student in school.students[:people]], "body": "Hello", **parts}
        async with client.post("/api/v1/conversations", headers=headers, json=sent) as response:
            return response.status, await response.json()

    return ask


BULK = {"group_conversation": True, "bulk_message": True}
KINDS: dict[str, tuple[int, dict[str, Any]]] = {
    "private": (1, {}),
    "into private threads": (5, {}),
    "into private threads, async": (5, {"mode": "async"}),
    "separate": (5, BULK),
    "separate, async": (5, BULK | {"mode": "async"}),
    "group": (5, {"group_conversation": True}),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_send_counts_and_is_refused_beyond_the_limit(
    send: Send, conn: asyncpg.Connection, kind: str
) -> None:
    people, parts = KINDS[kind]
    for _ in range(LIMIT // people):
        status, _ = await send(people, **parts)
        assert status in (201, 202)
    stored = await conn.fetchval("SELECT count(*) FROM sends")

    assert await send(people, **parts) == REFUSED
    assert await send(people, dry_run=True, **parts) == REFUSED
    assert await conn.fetchval("SELECT count(*) FROM sends") == stored


async def test_what_just_fits_is_sent_and_what_was_refused_does_not_count(send: Send) -> None:
    assert await send(LIMIT + 1) == REFUSED
    assert (await send(7))[0] == 201
    assert await send(4) == REFUSED
    assert (await send(3, dry_run=True))[0] == 200
    assert (await send(3))[0] == 201
    assert await send(1) == REFUSED


async def test_it_is_one_senders_and_counts_24_hours(
    send: Send, client: ClientSession, token: Token, school: School, conn: asyncpg.Connection
) -> None:
    assert (await send(LIMIT))[0] == 201
    student = await token(school.students[0])
    sent = {"recipients": [str(school.teacher)], "body": "Hello"}
    async with client.post("/api/v1/conversations", headers=student, json=sent) as response:
        assert response.status == 201

    await conn.execute("UPDATE counted_sends SET counted_at = now() - interval '23 h 59 min'")
    assert await send(1) == REFUSED
    await conn.execute("UPDATE counted_sends SET counted_at = now() - interval '24 h'")
    assert (await send(LIMIT))[0] == 201
    assert await conn.fetchval("SELECT sum(recipients) FROM counted_sends") == LIMIT


async def test_parallel_requests_do_not_get_beyond_it_together(send: Send, conn: asyncpg.Connection) -> None:
    answers = await asyncio.gather(*(send(2, **BULK, mode="async") for _ in range(4 * LIMIT)))

    assert Counter(status for status, _ in answers) == {202: LIMIT // 2, 400: 4 * LIMIT - LIMIT // 2}
    assert await conn.fetchval("SELECT sum(total) FROM batches") == LIMIT


async def test_a_send_for_another_day_counts_then_and_has_to_fit_into_one(send: Send, conn: asyncpg.Connection) -> None:
    tomorrow = (await conn.fetchval("SELECT now() + interval '1 day'")).isoformat()
    assert (await send(LIMIT))[0] == 201
    assert (await send(LIMIT, send_at=tomorrow))[0] == 202
    assert (await send(LIMIT, send_at=tomorrow, dry_run=True))[0] == 200
    assert await send(LIMIT + 1, send_at=tomorrow) == REFUSED
    assert await send(LIMIT + 1, send_at=tomorrow, dry_run=True) == REFUSED


class TestWithoutALimit:
    """The default."""

    @pytest.fixture
    def settings(self, settings: Settings) -> Settings:
        """None."""
        return settings.model_copy(update={"sender_recipients_per_day": 0})

    async def test_nothing_is_counted(self, send: Send, conn: asyncpg.Connection) -> None:
        assert (await send(50))[0] == 201
        assert await conn.fetchval("SELECT count(*) FROM counted_sends") == 0
