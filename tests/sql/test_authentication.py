"""What is noted about a caller costs no reader a flush to disk."""

import asyncpg

from sql.authentication import find_caller
from tests.support.institution import Institution

TOKEN_HASH = b"hash"


async def test_a_caller_who_is_looked_up_does_not_wait_for_the_disk(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    """That a token was used may be forgotten in a crash; what the same connection writes next may not."""
    await conn.execute(
        "INSERT INTO access_tokens (token_hash, user_id) VALUES ($1, $2)", TOKEN_HASH, await institution.user()
    )
    await conn.execute("SET synchronous_commit = on")

    async with conn.transaction():
        found = await find_caller(conn, TOKEN_HASH, reserving=1.0, longest=10.0)
        inside = await conn.fetchval("SHOW synchronous_commit")

    assert found is not None
    assert inside == "off"
    assert await conn.fetchval("SELECT last_used_at IS NOT NULL FROM access_tokens")
    assert await conn.fetchval("SHOW synchronous_commit") == "on"
