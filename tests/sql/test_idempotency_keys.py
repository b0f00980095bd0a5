"""Two users may choose the same key."""

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

KEPT = {
    user: KeptRequest(f"asked by {user}".encode(), KeptAnswer(201, {"X-User": str(user)}, b"[]")) for user in (1, 2)
}


@pytest.fixture
async def kept(conn: asyncpg.Connection) -> dict[int, KeptRequest]:
    """By user, all under one key."""
    for user, request in KEPT.items():
        assert await claim_request(conn, user, "key", request.fingerprint)
        await keep_answer(conn, user, "key", request.answer)
    return KEPT


async def test_each_has_the_answer_to_their_own_request(conn: asyncpg.Connection, kept: dict[int, KeptRequest]) -> None:
    assert {user: await find_request(conn, user, "key") for user in kept} == kept
    assert not await claim_request(conn, 1, "key", b"")
    assert await claim_request(conn, 1, "other key", b"")


async def test_one_is_forgotten_without_the_other(conn: asyncpg.Connection, kept: dict[int, KeptRequest]) -> None:
    await conn.execute("UPDATE idempotency_keys SET created_at = now() - interval '2 days' WHERE user_id = 1")

    assert await forget_requests(conn, older_than=timedelta(days=1), limit=10) == 1

    assert {user: await find_request(conn, user, "key") for user in kept} == {1: None, 2: kept[2]}


async def test_the_oldest_are_forgotten_first(conn: asyncpg.Connection) -> None:
    for days in (3, 5, 4):
        await claim_request(conn, 1, f"{days} days old", b"")
        await conn.execute(
            "UPDATE idempotency_keys SET created_at = now() - $1::interval WHERE key = $2",
            timedelta(days=days),
            f"{days} days old",
        )

    assert await forget_requests(conn, older_than=timedelta(days=1), limit=2) == 2

    assert await conn.fetchval("SELECT key FROM idempotency_keys") == "3 days old"
