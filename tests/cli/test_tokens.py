"""``clarion token`` as a user runs it (CONTRACT 2)."""

import json
import re
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
        *("token", "create", "--user", "7", "--name", "Zoë's phone", "--expires", "2099-01-01T02:00:00+02:00"),
        *("--scope", SCOPE, "--scope", other),
    )
    row = await conn.fetchrow("SELECT name, expires_at, scopes, revoked_at FROM access_tokens")
    assert row is not None
    assert tuple(row) == ("Zoë's phone", datetime(2099, 1, 1, tzinfo=UTC), [SCOPE, other], None)


async def test_a_token_without_options_opens_every_route_for_ever(settings: Settings, conn: asyncpg.Connection) -> None:
    await clarion(settings, "token", "create", "--user", "7")
    row = await conn.fetchrow("SELECT name, expires_at, scopes, revoked_at FROM access_tokens")
    assert row is not None
    assert tuple(row) == (None, None, None, None)


async def test_an_expiry_that_is_past_is_refused(settings: Settings, conn: asyncpg.Connection) -> None:
    """By the database's clock, which is also the one that ends a token."""
    past = (await conn.fetchval("SELECT now() - interval '1 second'")).isoformat()

    done = await clarion(settings, "token", "create", "--user", "7", "--expires", past)

    assert done == (1, "", "clarion: --expires is in the past\n")
    assert await conn.fetchval("SELECT count(*) FROM access_tokens") == 0


async def test_a_user_may_be_named_as_the_institution_does(settings: Settings, conn: asyncpg.Connection) -> None:
    await conn.execute(
        "INSERT INTO users (id, name, sis_id, login, workflow_state, as_of)"
        " VALUES (4, 'Ana', 'S-4', 'ana', 'registered', now()), (5, 'Bo', 'S-5', 'bo', 'registered', now())"
    )

    done = await clarion(settings, "token", "create", "--user", "sis_user_id:S-5", "--user", "sis_login_id:ana")

    assert (done.code, done.err) == (0, "")
    stored = {row["token_hash"]: row["user_id"] for row in await conn.fetch("SELECT * FROM access_tokens")}
    assert [stored[hash_token(token)] for token in done.out.splitlines()] == [5, 4]
    unknown = await clarion(settings, "token", "create", "--user", "7", "--user", "sis_user_id:S-6")
    assert unknown == (1, "", "clarion: there is no user S-6 in the directory\n")
    assert await conn.fetchval("SELECT count(*) FROM access_tokens") == 2


async def test_tokens_are_listed_without_the_tokens(settings: Settings, conn: asyncpg.Connection) -> None:
    await conn.execute(
        "INSERT INTO users (id, workflow_state, as_of, name) VALUES (7, 'registered', now(), E'Zo\u00eb\x1b[2J')"
    )
    told = ("--name", "phone", "--expires", "2099-01-01")
    first = (await clarion(settings, "token", "create", "--user", "7", *told)).out.strip()
    second = (await clarion(settings, "token", "create", "--user", "9")).out.strip()
    await conn.execute("UPDATE access_tokens SET last_used_at = '2026-02-03T04:05:06Z' WHERE user_id = 7")
    await clarion(settings, "token", "revoke", second)

    shown = await clarion(settings, "token", "list")
    rows = [json.loads(line) for line in (await clarion(settings, "token", "list", "--json")).out.splitlines()]

    head, one, two = shown.out.splitlines()
    assert head.split("  ")[0] == "ID"
    assert re.search(r" 7 +Zo\u00eb\\x1b\[2J +phone +\d{4}-\S+Z +2099-01-01T00:00:00Z +2026-02-03T04:05:06Z +-$", one)
    assert re.search(r" 9 +- +- +\d{4}-\S+Z +- +- +\d{4}-\S+Z$", two)
    assert [(row["user_id"], row["user_name"], row["name"]) for row in rows] == [
        (7, "Zo\u00eb\x1b[2J", "phone"),
        (9, None, None),
    ]
    assert [row["revoked_at"] is None for row in rows] == [True, False]
    stored = [row["token_hash"].hex() for row in await conn.fetch("SELECT token_hash FROM access_tokens")]
    for secret in (first, second, *stored):
        assert secret not in shown.out


async def test_a_token_is_revoked_by_its_id_or_from_stdin(settings: Settings, conn: asyncpg.Connection) -> None:
    made = (await clarion(settings, "token", "create", "--user", "1", "--user", "2", "--user", "3")).out.split()
    ids = {row["token_hash"]: row["id"] for row in await conn.fetch("SELECT id, token_hash FROM access_tokens")}

    assert await clarion(settings, "token", "revoke", str(ids[hash_token(made[0])])) == (0, "", "")
    assert await clarion(settings, "token", "revoke", "-", stdin=f"{made[1]}\n".encode()) == (0, "", "")

    revoked = await conn.fetch("SELECT user_id FROM access_tokens WHERE revoked_at IS NOT NULL ORDER BY user_id")
    assert [row["user_id"] for row in revoked] == [1, 2]
    for unknown in (["999999"], ["-"]):
        done = await clarion(settings, "token", "revoke", *unknown)
        assert done == (1, "", "clarion: there is no such token\n")


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
        ["create", "--user", "sis_user_id:"],
        ["create", "--user", "email:ana"],
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
