"""``clarion token`` as a user runs it (CONTRACT 2)."""

from datetime import UTC, datetime

import asyncpg
import pytest
from typer.testing import CliRunner

from service.cli import app
from service.domain.tokens import hash_token, is_scope
from service.runtime.settings import Settings
from tests.support.commands import clarion

SCOPE = "url:GET|/api/v1/conversations/:id"


async def test_tokens_are_printed_in_the_order_of_the_users_and_stored_hashed(
    settings: Settings, conn: asyncpg.Connection
) -> None:
    users = [7, 3, 7, 10**13 + 5]
    done = await clarion(settings, "token", "create", *(part for user in users for part in ("--user", str(user))))
    assert (done.code, done.err) == (0, "")
    stored = {row["token_hash"]: row["user_id"] for row in await conn.fetch("SELECT * FROM access_tokens")}
    assert [stored[hash_token(token)] for token in done.out.splitlines()] == [7, 3, 7, 5]


async def test_thousands_of_tokens_in_one_call(settings: Settings, conn: asyncpg.Connection) -> None:
    users = [part for user in range(1, 4001) for part in ("--user", str(user))]
    done = await clarion(settings, "token", "create", *users)
    assert len(set(done.out.splitlines())) == 4000
    assert await conn.fetchval("SELECT count(DISTINCT user_id) FROM access_tokens") == 4000


async def test_name_expiry_and_scopes_are_kept(settings: Settings, conn: asyncpg.Connection) -> None:
    other = "url:POST|/api/v1/conversations"
    await clarion(
        settings,
        *("token", "create", "--user", "7", "--name", "Zoë's phone", "--expires", "2026-01-01T02:00:00+02:00"),
        *("--scope", SCOPE, "--scope", other),
    )
    row = await conn.fetchrow("SELECT name, expires_at, scopes, revoked_at FROM access_tokens")
    assert row is not None
    assert tuple(row) == ("Zoë's phone", datetime(2026, 1, 1, tzinfo=UTC), [SCOPE, other], None)


async def test_a_token_without_options_opens_every_route_for_ever(settings: Settings, conn: asyncpg.Connection) -> None:
    await clarion(settings, "token", "create", "--user", "7")
    row = await conn.fetchrow("SELECT name, expires_at, scopes, revoked_at FROM access_tokens")
    assert row is not None
    assert tuple(row) == (None, None, None, None)


async def test_revoking_keeps_the_first_time(settings: Settings, conn: asyncpg.Connection) -> None:
    token = (await clarion(settings, "token", "create", "--user", "7")).out.strip()
    assert (await clarion(settings, "token", "revoke", token)).code == 0
    first = await conn.fetchval("SELECT revoked_at FROM access_tokens")
    assert (await clarion(settings, "token", "revoke", token)).code == 0
    assert first is not None
    assert await conn.fetchval("SELECT revoked_at FROM access_tokens") == first


async def test_an_unknown_token_cannot_be_revoked_and_is_not_repeated(settings: Settings) -> None:
    done = await clarion(settings, "token", "revoke", "secret")
    assert (done.code, done.out, done.err) == (1, "", "clarion: there is no such token\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["create"],
        ["create", "--user", "ana"],
        ["create", "--user", "0"],
        ["create", "--user", "99999999999999999999"],
        ["create", "--user", "7", "--expires", "tomorrow"],
        ["create", "--user", "7", "--expires", "0001-01-01T00:00:00+14:00"],
        ["create", "--user", "7", "--scope", "everything"],
        ["create", "--user", "7", "--name", "two\nlines"],
        ["revoke"],
        ["destroy"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["token", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (SCOPE, True),
        ("url:POST|/api/v1/conversations/:id/add_message", True),
        ("url:HEAD|/api/v1/conversations", False),
        ("url:get|/api/v1/conversations", False),
        ("url:GET|conversations", False),
        ("url:GET|/api/v1/a b", False),
        ("", False),
    ],
)
def test_the_form_of_a_scope(text: str, expected: bool) -> None:
    assert is_scope(text) is expected
