"""Every POST and PUT there is takes an Idempotency-Key: the requests of the examples, each made under a key."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest

from service.api.examples import Example
from service.domain.dates import iso
from service.runtime.settings import Settings
from tests.api.test_examples import PATHS, Step, filled, noted, prepare, query, steps
from tests.support.institution import Institution
from tests.support.school import make_school

Token = Callable[..., Awaitable[dict[str, str]]]

# What a request leaves whatever becomes of it.
BESIDE = {"access_tokens", "throttle_buckets"}

HEADERS = ("Content-Type", "Cache-Control", "X-Conversation-Batch-Id", "Idempotency-Replayed")

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

    async def ask(step: Step, key: str | None) -> tuple[int, bytes, Mapping[str, str]]:
        method, path = PATHS[step.operation]
        headers = who[step.by] | ({} if key is None else {"Idempotency-Key": key})
        url, sent = path.format(id=found.get(step.of or "")), filled(step.parameters, found)
        example = Example(step.summary, None, sent, step.status, None)
        parameters: dict[str, Any] = {"params": query(example)} if key is None else {"json": sent}
        async with client.request(method, url, headers=headers, **parameters) as response:
            kept = {name: response.headers[name] for name in HEADERS if name in response.headers}
            return response.status, await response.read(), kept

    tomorrow = iso(await conn.fetchval("SELECT now() + interval '1 day'"))
    for number, step in enumerate(steps(school, tomorrow)):
        method, path = PATHS[step.operation]
        if method not in {"POST", "PUT"}:
            if not path.endswith("/events"):  # a stream, which tells later steps nothing and has no end
                _, answer, _ = await ask(step, None)
                noted(found, step, orjson.loads(answer))
            continue
        await prepare(conn, path, found)
        tried.add((method, path))
        key, before = f"step {number}", await content(conn)
        async with refusing_keys(conn):
            assert (await ask(step, key))[0] == 500, step
        assert await content(conn) == before, step

        first = await ask(step, key)
        assert first[0] == step.status, step
        after = await content(conn)
        assert await ask(step, key) == (*first[:2], {**first[2], "Idempotency-Replayed": "true"}), step
        assert await content(conn) == after, step
        noted(found, step, orjson.loads(first[1]))

    assert tried == {(method, path) for method, path in PATHS.values() if method in {"POST", "PUT"}}
