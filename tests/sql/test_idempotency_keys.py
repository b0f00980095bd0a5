"""Two users may choose the same key; a key is one transaction's, and kept for a while."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import asyncpg
import pytest

from sql.idempotency_keys import (
    KeptAnswer,
    KeptRequest,
    claim_request,
    find_request,
    forget_requests,
    keep_answer,
)
from tests.support.waiting import until

DAY = timedelta(days=1)
WAITING = "SELECT count(*) = 1 FROM pg_locks WHERE NOT granted AND pid = $1"
KEPT = {
    user: KeptRequest(f"asked by {user}".encode(), KeptAnswer(201, {"X-User": str(user)}, b"[]")) for user in (1, 2)
}


async def claim(conn: asyncpg.Connection, user: int, key: str, fingerprint: bytes = b"", *, waits: bool = True) -> bool:
    return await claim_request(conn, user, key, fingerprint, kept_for=DAY, waits=waits)


async def find(conn: asyncpg.Connection, user: int, key: str = "key") -> KeptRequest | None:
    return await find_request(conn, user, key, kept_for=DAY)


@pytest.fixture
async def kept(conn: asyncpg.Connection) -> dict[int, KeptRequest]:
    """By user, all under one key."""
    for user, request in KEPT.items():
        assert await claim(conn, user, "key", request.fingerprint)
        await keep_answer(conn, user, "key", request.answer)
    return KEPT


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of another process."""
    made = await asyncpg.connect(database_url)
    yield made
    await made.close()


async def test_each_has_the_answer_to_their_own_request(conn: asyncpg.Connection, kept: dict[int, KeptRequest]) -> None:
    assert {user: await find(conn, user) for user in kept} == kept
    assert not await claim(conn, 1, "key")
    assert await claim(conn, 1, "other key")


async def test_one_is_forgotten_without_the_other(conn: asyncpg.Connection, kept: dict[int, KeptRequest]) -> None:
    await conn.execute("UPDATE idempotency_keys SET created_at = now() - interval '2 days' WHERE user_id = 1")

    assert await forget_requests(conn, older_than=DAY, limit=10) == 1

    assert {user: await find(conn, user) for user in kept} == {1: None, 2: kept[2]}


async def test_the_oldest_are_forgotten_first(conn: asyncpg.Connection) -> None:
    for days in (3, 5, 4):
        await claim(conn, 1, f"{days} days old")
        await conn.execute(
            "UPDATE idempotency_keys SET created_at = now() - $1::interval WHERE key = $2",
            timedelta(days=days),
            f"{days} days old",
        )

    assert await forget_requests(conn, older_than=DAY, limit=2) == 2

    assert await conn.fetchval("SELECT key FROM idempotency_keys") == "3 days old"


async def test_what_is_in_work_is_not_waited_for_unless_it_is_asked_for(
    conn: asyncpg.Connection, other: asyncpg.Connection
) -> None:
    async with conn.transaction():
        assert await claim(conn, 1, "key")
        assert not await claim(other, 1, "key", waits=False)
        assert await claim(other, 2, "key", waits=False)
        waiting = asyncio.create_task(claim(other, 1, "key"))
        await until(lambda: conn.fetchval(WAITING, other.get_server_pid()))
    assert not await waiting


async def test_what_was_rolled_back_is_free_at_once(conn: asyncpg.Connection, other: asyncpg.Connection) -> None:
    transaction = conn.transaction()
    await transaction.start()
    await claim(conn, 1, "key")
    await transaction.rollback()

    assert await claim(other, 1, "key", waits=False)


async def test_a_key_that_is_too_old_is_free_before_it_is_swept(
    conn: asyncpg.Connection, kept: dict[int, KeptRequest]
) -> None:
    await conn.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE user_id = 1")

    assert await find(conn, 1) is None
    assert await claim(conn, 1, "key", b"asked anew")
    assert not await claim(conn, 2, "key")

    await keep_answer(conn, 1, "key", KEPT[1].answer)
    assert await find(conn, 1) == KeptRequest(b"asked anew", kept[1].answer)
    assert await forget_requests(conn, older_than=DAY, limit=10) == 0
