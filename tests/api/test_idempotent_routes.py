"""Every POST and PUT there is takes an Idempotency-Key: the requests of the examples, each made under a key."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
import pytest

from service.runtime.settings import Settings
from tests.api.test_examples import PATHS, filled, noted, steps
from tests.support.institution import Institution
from tests.support.school import make_school

Token = Callable[..., Awaitable[dict[str, str]]]

# What a request leaves whatever becomes of it.
BESIDE = {"access_tokens", "throttle_buckets"}

REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no key is kept'; END $$;
    CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON idempotency_keys DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION refuse();
"""


@pytest.fixture
def edge_settings(edge_settings: Settings) -> Settings:
    """Replies to four people are queued."""
    return edge_settings.model_copy(update={"queued_reply_participants": 4})


@asynccontextmanager
async def refusing_keys(conn: asyncpg.Connection) -> AsyncIterator[None]:
    """Meanwhile no transaction can be committed that has stored a key."""
    await conn.execute(REFUSE)
    try:
        yield
    finally:
        await conn.execute("DROP TRIGGER refuse ON idempotency_keys; DROP FUNCTION refuse")


async def content(conn: asyncpg.Connection) -> dict[str, str]:
    """A digest of each table."""
    tables = await conn.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    digest = "SELECT md5(coalesce(string_agg(t::text, ' ' ORDER BY t::text), '')) FROM {} t"
    return {
        row["tablename"]: await conn.fetchval(digest.format(row["tablename"]))
        for row in tables
        if row["tablename"] not in BESIDE
    }


async def test_every_post_and_put_has_its_effect_with_its_key_or_not_at_all_and_once(
    client: aiohttp.ClientSession, token: Token, institution: Institution, conn: asyncpg.Connection
) -> None:
    school = await make_school(institution, 3)
    admin = await institution.user()
    await institution.admin(admin, account=await institution.account(site_admin=True))
    who = {"teacher": await token(school.teacher), "admin": await token(admin)}
    found: dict[str, int] = {}
    tried = set()

    for number, step in enumerate(steps(school)):
        method, path = PATHS[step.operation]
        keyed = method in {"POST", "PUT"}
        headers = who[step.by] | ({"Idempotency-Key": f"step {number}"} if keyed else {})
        url, sent = path.format(id=found.get(step.of or "")), filled(step.parameters, found)

        async def ask(
            method: str = method, url: str = url, headers: dict[str, str] = headers, sent: dict[str, Any] = sent
        ) -> tuple[int, bytes, Any]:
            body = {"json": sent} if method in {"POST", "PUT"} else {}
            async with client.request(method, url, headers=headers, **body) as response:
                return response.status, await response.read(), (response.headers, await response.json())

        if keyed:
            before = await content(conn)
            async with refusing_keys(conn):
                assert (await ask())[0] == 500, step
            assert await content(conn) == before, step

        status, first, (headers_of_first, answer) = await ask()
        assert (status, headers_of_first.get("Idempotency-Replayed")) == (step.status, None), step

        if keyed:
            tried.add((method, path))
            after = await content(conn)
            repeated, again, (headers_of_again, _) = await ask()
            assert (repeated, again, headers_of_again["Idempotency-Replayed"]) == (status, first, "true"), step
            for name in ("Content-Type", "Cache-Control", "X-Conversation-Batch-Id"):
                assert headers_of_first.get(name) == headers_of_again.get(name)
            assert await content(conn) == after, step
        noted(found, step, answer)

    assert tried == {(method, path) for method, path in PATHS.values() if method in {"POST", "PUT"}}
