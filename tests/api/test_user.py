"""GET /users/self (CONTRACT 6.19)."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import asyncpg
import pytest
from aiohttp import ClientSession

from tests.support.gateway import PUBLIC_URL
from tests.support.http_calls import call
from tests.support.institution import Institution

Token = Callable[..., Awaitable[dict[str, str]]]


async def test_a_user_is_shown_with_all_that_the_directory_knows(
    client: ClientSession, token: Token, institution: Institution, conn: asyncpg.Connection
) -> None:
    user = await institution.user("Ana Beta", short_name="Ana", pronouns="she/her", avatar_url="/pictures/1.png")
    created = datetime(2024, 5, 1, 12, tzinfo=UTC)
    await conn.execute(
        "UPDATE users SET login = 'ana', sis_id = 'S-1', sortable_name = NULL, created_at = $2 WHERE id = $1",
        user,
        created,
    )

    assert await call(client, await token(user), "GET", "/users/self") == {
        "id": user,
        "name": "Ana Beta",
        "created_at": "2024-05-01T12:00:00Z",
        "sortable_name": "Beta, Ana",
        "short_name": "Ana",
        "sis_user_id": "S-1",
        "login_id": "ana",
        "avatar_url": f"{PUBLIC_URL}/pictures/1.png",
        "pronouns": "she/her",
    }


async def test_one_who_is_not_yet_in_the_directory_has_empty_names(client: ClientSession, token: Token) -> None:
    assert await call(client, await token(7), "GET", "/users/self") == {
        "id": 7,
        "name": "",
        "created_at": None,
        "sortable_name": "",
        "short_name": "",
        "sis_user_id": None,
        "login_id": None,
        "avatar_url": f"{PUBLIC_URL}/images/messages/avatar-50.png",
        "pronouns": None,
    }


async def test_acting_as_another_one_is_that_user(
    client: ClientSession, token: Token, institution: Institution
) -> None:
    admin, user = await institution.users(2)
    await institution.admin(admin)

    shown = await call(client, await token(admin), "GET", f"/users/self?as_user_id={user}")

    assert (shown["id"], shown["name"]) == (user, f"User {user}")


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ("url:GET|/api/v1/users/self", 200),
        ("url:GET|/api/v1/users/:id", 200),
        ("url:GET|/api/v1/conversations", 401),
        ("url:PUT|/api/v1/users/:id", 401),
    ],
)
async def test_a_limited_token_needs_its_scope_or_that_of_canvas(
    client: ClientSession, token: Token, institution: Institution, scope: str, status: int
) -> None:
    user = await institution.user()

    await call(client, await token(user, scopes=[scope]), "GET", "/users/self", status=status)


async def test_no_other_user_is_shown(client: ClientSession, token: Token, institution: Institution) -> None:
    user, other = await institution.users(2)
    for path in (f"/users/{other}", f"/users/{user}", "/users"):
        await call(client, await token(user), "GET", path, status=404)


async def test_who_is_account_admin_is_said_to_who_asks(
    client: ClientSession, token: Token, institution: Institution
) -> None:
    """Of any account, as long as the record and the account last; another role is none."""
    account = await institution.account(1)
    admin, other, former, user = await institution.users(4)
    await institution.admin(admin, account=account)
    await institution.admin(other, role="Registrar")
    await institution.admin(former, state="deleted")

    said = [
        (await call(client, await token(who), "GET", "/users/self?include[]=account_admin"))["account_admin"]
        for who in (admin, other, former, user)
    ]

    assert said == [True, False, False, False]
    assert "account_admin" not in await call(client, await token(admin), "GET", "/users/self")
