"""The table of conventions.md 2, and acting as another user."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from service.api.app import build_app
from service.domain.rights import Right
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.http_calls import call
from tests.support.institution import ROOT_ACCOUNT, Institution

Token = Callable[..., Awaitable[dict[str, str]]]

ECHO = "/api/v1/echo/1"
SCOPE = "url:GET|/api/v1/echo/:id"
CHALLENGE = 'Bearer realm="canvas-lms"'
INVALID = {"errors": [{"message": "Invalid access token."}]}
INVALID_AS_USER = {"errors": "Invalid as_user_id"}


async def echoed(client: aiohttp.ClientSession, headers: dict[str, str], **params: Any) -> tuple[Any, Any]:
    """(user_id, real_user_id) as the handler saw them."""
    async with client.get(ECHO, headers=headers, params=params) as answer:
        assert answer.status == 200, await answer.text()
        body = await answer.json()
    return body["user_id"], body["real_user_id"]


async def refused(client: aiohttp.ClientSession, headers: dict[str, str], **params: Any) -> tuple[int, Any, bool]:
    """(status, body, challenged)"""
    async with client.get(ECHO, headers=headers, params=params) as answer:
        body = await answer.json()
    return answer.status, body, answer.headers.get("WWW-Authenticate") == CHALLENGE


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Basic eDp5"}, {"Authorization": "Bearer "}])
async def test_no_credentials(client: aiohttp.ClientSession, headers: dict[str, str]) -> None:
    body = {"status": "unauthenticated", "errors": [{"message": "user authorization required"}]}

    assert await refused(client, headers) == (401, body, True)


@pytest.mark.parametrize("token", ["unknown", "é", "a b", "x" * 5000])
async def test_an_unknown_or_malformed_token(client: aiohttp.ClientSession, token: str) -> None:
    assert await refused(client, {"Authorization": f"Bearer {token}"}) == (401, INVALID, True)
    assert await refused(client, {}, access_token=token) == (401, INVALID, True)


async def test_an_access_token_that_is_no_text(client: aiohttp.ClientSession) -> None:
    async with client.post(ECHO, json={"access_token": {"a": 1}}) as answer:
        assert (answer.status, await answer.json()) == (401, INVALID)


async def test_a_revoked_token(client: aiohttp.ClientSession, token: Token) -> None:
    headers = await token(7, revoked_at=datetime.now(UTC))

    assert await refused(client, headers) == (401, {"errors": [{"message": "Revoked access token."}]}, True)


async def test_an_expired_token_says_since_when(client: aiohttp.ClientSession, token: Token) -> None:
    headers = await token(7, expires_at=datetime(2024, 5, 1, 12, 0, 0, 5, UTC))

    error = {"message": "Expired access token.", "expired_at": "2024-05-01T12:00:00Z"}
    assert await refused(client, headers) == (401, {"errors": [error]}, True)


async def test_a_token_is_good_until_it_expires(client: aiohttp.ClientSession, token: Token) -> None:
    headers = await token(7, expires_at=datetime.now(UTC) + timedelta(hours=1))

    assert await echoed(client, headers) == (7, None)


@pytest.mark.parametrize("throttled", [True, False])
async def test_the_last_use_of_a_token_is_kept_to_the_minute(
    edge_settings: Settings,
    pool: asyncpg.Pool,
    broker: Publisher,
    *,
    serve: Callable[[web.Application], Awaitable[aiohttp.ClientSession]],
    conn: asyncpg.Connection,
    token: Token,
    throttled: bool,
) -> None:
    """A row that every request would write costs more than it tells."""
    settings = edge_settings if throttled else edge_settings.model_copy(update={"throttle_maximum": 0})
    session = await serve(build_app(settings, pool, broker))
    credentials = await token(7)
    looking = "SELECT last_used_at, xmin::text FROM access_tokens"

    async def used() -> tuple[datetime, str]:
        async with session.get("/api/v1/conversations/unread_count", headers=credentials) as response:
            assert response.status == 200
        row = await conn.fetchrow(looking)
        assert row is not None
        return row["last_used_at"], row["xmin"]

    first = await used()
    assert first[0] is not None
    assert await used() == first
    await conn.execute("UPDATE access_tokens SET last_used_at = last_used_at - interval '61 seconds'")
    assert (await used())[0] > first[0]


async def test_a_token_that_opens_nothing_is_not_used(
    client: aiohttp.ClientSession, conn: asyncpg.Connection, token: Token
) -> None:
    past = datetime.now(UTC) - timedelta(days=1)
    for credentials in (await token(7, expires_at=past), await token(7, revoked_at=past)):
        async with client.get("/api/v1/conversations/unread_count", headers=credentials) as response:
            assert response.status == 401

    assert await conn.fetchval("SELECT count(last_used_at) FROM access_tokens") == 0


async def test_a_user_the_directory_does_not_know_is_accepted(client: aiohttp.ClientSession, token: Token) -> None:
    assert await echoed(client, await token(999_999)) == (999_999, None)


async def test_a_deleted_user_is_not(client: aiohttp.ClientSession, token: Token, institution: Institution) -> None:
    user = await institution.user(state="deleted")

    assert await refused(client, await token(user)) == (401, INVALID, True)


async def test_the_header_wins_over_the_parameter(client: aiohttp.ClientSession, token: Token) -> None:
    headers, other = await token(7), await token(8)
    text = other["Authorization"].removeprefix("Bearer ")

    assert await echoed(client, headers, access_token=text) == (7, None)
    assert await echoed(client, {}, access_token=text) == (8, None)
    assert await echoed(client, {"Authorization": f"bearer {text}"}) == (8, None)


@pytest.mark.parametrize("encoding", ["data", "json"])
async def test_a_token_in_the_body(client: aiohttp.ClientSession, token: Token, encoding: str) -> None:
    text = (await token(7))["Authorization"].removeprefix("Bearer ")

    sent: dict[str, Any] = {encoding: {"access_token": text}}
    async with client.post(ECHO, **sent) as answer:
        assert (await answer.json())["user_id"] == 7


async def test_a_limited_token(client: aiohttp.ClientSession, token: Token) -> None:
    headers = await token(7, scopes=[SCOPE])
    nowhere = await token(7, scopes=[])

    assert await echoed(client, headers) == (7, None)
    async with client.head(f"{ECHO}.json", headers=headers) as answer:
        assert answer.status == 200
    async with client.post(ECHO, headers=headers, data={"_method": "get"}) as answer:
        assert answer.status == 200
    body = {"errors": [{"message": "Insufficient scopes on access token."}]}
    async with client.post(ECHO, headers=headers) as answer:
        assert (answer.status, await answer.json()) == (401, body)
        assert "WWW-Authenticate" not in answer.headers
    assert await refused(client, nowhere) == (401, body, False)


@pytest.mark.parametrize("path", ["/api/v1/conversations", "/api/v1/conversations/5", "/api/v1/conversations/batches"])
async def test_the_fake_student_has_no_conversations(
    client: aiohttp.ClientSession, token: Token, institution: Institution, path: str
) -> None:
    fake = await institution.user()
    await institution.enroll(await institution.course(), fake, "StudentView")

    async with client.get(path, headers=await token(fake)) as answer:
        assert answer.status == 403
        assert (await answer.json())["status"] == "unauthorized"


async def test_a_teacher_who_once_was_a_fake_student_does(
    client: aiohttp.ClientSession, token: Token, institution: Institution
) -> None:
    teacher = await institution.user()
    course = await institution.course()
    await institution.enroll(course, teacher, "StudentView")
    await institution.enroll(course, teacher, "Teacher")

    async with client.get("/api/v1/conversations/unread_count", headers=await token(teacher)) as answer:
        assert answer.status == 200


@pytest.fixture
async def target(institution: Institution, conn: asyncpg.Connection) -> int:
    """A user with every kind of id."""
    user = await institution.user()
    await conn.execute("UPDATE users SET sis_id = 'sis 1', login = 'login@x' WHERE id = $1", user)
    return user


@pytest.fixture
async def admin(institution: Institution) -> int:
    """An administrator of the root account."""
    user = await institution.user()
    await institution.admin(user)
    return user


async def test_an_administrator_acts_as_a_user_by_every_form_of_id(
    client: aiohttp.ClientSession, token: Token, admin: int, target: int
) -> None:
    headers = await token(admin)
    legacy = f"hex:sis_user_id:{b'sis 1'.hex()}"

    for form in (str(target), f"uuid:uuid-{target}", "sis_user_id:sis 1", "sis_login_id:login@x", legacy):
        assert await echoed(client, headers, as_user_id=form) == (target, admin)


async def test_acting_as_oneself_is_no_masquerade(client: aiohttp.ClientSession, token: Token, target: int) -> None:
    headers = await token(target)

    for form in ("self", str(target), f"uuid:uuid-{target}", ""):
        assert await echoed(client, headers, as_user_id=form) == (target, None)


@pytest.mark.parametrize(
    "form",
    ["999999", "9" * 30, "0", "wat", "uuid:", "uuid:none", "lti_user_id:1", "hex:sis_user_id:zz", "sis_user_id:", "-1"],
)
async def test_acting_as_an_unknown_user_is_refused(
    client: aiohttp.ClientSession, token: Token, admin: int, form: str
) -> None:
    assert await refused(client, await token(admin), as_user_id=form) == (401, INVALID_AS_USER, False)


async def test_more_digits_than_an_id_has_are_no_id(
    client: aiohttp.ClientSession, token: Token, admin: int, target: int
) -> None:
    """Whatever they begin or end with: 19 digits are the longest (canvas/conventions.md 7)."""
    headers = await token(admin)

    assert await echoed(client, headers, as_user_id=f"{target:019}") == (target, admin)
    for form in (f"{target:020}", f"{target:020}00"):
        assert await refused(client, headers, as_user_id=form) == (401, INVALID_AS_USER, False)


@pytest.mark.parametrize("value", [{"a": 1}, [1], True, 1.5])
async def test_an_as_user_id_that_is_no_id_is_refused(
    client: aiohttp.ClientSession, token: Token, admin: int, value: Any
) -> None:
    async with client.post(ECHO, headers=await token(admin), json={"as_user_id": value}) as answer:
        assert (answer.status, await answer.json()) == (401, INVALID_AS_USER)


async def test_acting_without_the_right_is_refused(
    client: aiohttp.ClientSession, token: Token, institution: Institution, target: int
) -> None:
    teacher = await institution.user()
    await institution.enroll(await institution.course(), teacher, "Teacher")

    assert await refused(client, await token(teacher), as_user_id=str(target)) == (401, INVALID_AS_USER, False)


async def test_a_deleted_user_cannot_be_acted_as(
    client: aiohttp.ClientSession, token: Token, institution: Institution, admin: int
) -> None:
    gone = await institution.user(state="deleted")

    assert await refused(client, await token(admin), as_user_id=str(gone)) == (401, INVALID_AS_USER, False)


async def test_acting_as_an_administrator_takes_all_of_the_administrators_rights(
    client: aiohttp.ClientSession, token: Token, institution: Institution, admin: int
) -> None:
    """A role that may become others, and nothing else, becomes no full administrator."""
    helper = await institution.user()
    await institution.admin(helper, role="Helper")
    await institution.override("become_user", "Helper", True)
    plain = await institution.user()
    headers = await token(helper)

    assert await echoed(client, headers, as_user_id=str(plain)) == (plain, helper)
    assert await refused(client, headers, as_user_id=str(admin)) == (401, INVALID_AS_USER, False)
    assert await echoed(client, await token(admin), as_user_id=str(helper)) == (helper, admin)


async def test_acting_as_an_administrator_takes_those_rights_on_every_account_of_the_administrator(
    client: aiohttp.ClientSession, token: Token, institution: Institution
) -> None:
    helper, target = await institution.users(2)
    await institution.admin(helper, role="Helper")
    one, two = [await institution.account(parent=1) for _ in range(2)]
    for right in ("become_user", "read_roster"):
        await institution.override(right, "Helper", True)
    for account in (one, two):
        await institution.admin(target, account=account, role="Clerk")
    await institution.override("read_roster", "Clerk", True)
    headers = await token(helper)

    assert await echoed(client, headers, as_user_id=str(target)) == (target, helper)
    await institution.override("read_roster", "Helper", False, account=two)
    assert await refused(client, headers, as_user_id=str(target)) == (401, INVALID_AS_USER, False)


async def test_a_custom_role_with_every_right_is_no_account_admin(
    client: aiohttp.ClientSession, token: Token, institution: Institution, target: int
) -> None:
    """An AccountAdmin may what no list of rights names: GET /conversations/deleted asks for the role."""
    site = await institution.account(site_admin=True)
    deputy, admin, other = await institution.users(3)
    for right in Right:
        await institution.override(right, "Deputy", enabled=True, account=site)
    await institution.admin(deputy, account=site, role="Deputy")
    await institution.admin(admin, account=site)
    await institution.admin(other, account=site, role="Deputy")
    headers = await token(deputy)

    await call(client, headers, "GET", "/conversations/deleted?user_id=1", status=403)
    assert await refused(client, headers, as_user_id=str(admin)) == (401, INVALID_AS_USER, False)
    await call(client, headers, "GET", f"/conversations/deleted?user_id=1&as_user_id={admin}", status=401)
    assert await echoed(client, headers, as_user_id=str(other)) == (other, deputy)
    assert await echoed(client, headers, as_user_id=str(target)) == (target, deputy)


@pytest.mark.parametrize("way", ["association", "enrolment", "role"])
async def test_a_user_of_another_root_account_cannot_be_acted_as(
    *, client: aiohttp.ClientSession, token: Token, institution: Institution, admin: int, way: str
) -> None:
    other_root = await institution.account()
    below, here = await institution.account(other_root, root=other_root), await institution.account(ROOT_ACCOUNT)
    foreign, both = await institution.users(2)
    if way == "association":
        await institution.associate([foreign, both], below)
    elif way == "enrolment":
        await institution.enroll(await institution.course(account=below), [foreign, both])
    else:
        await institution.admin(foreign, account=below, role="Nothing")
        await institution.admin(both, account=below, role="Nothing")
    await institution.associate(both, here)
    headers = await token(admin)

    assert await refused(client, headers, as_user_id=str(foreign)) == (401, INVALID_AS_USER, False)
    assert await echoed(client, headers, as_user_id=str(both)) == (both, admin)
    operator = await institution.user()
    await institution.admin(operator, account=await institution.account(site_admin=True))
    assert await echoed(client, await token(operator), as_user_id=str(foreign)) == (foreign, operator)


async def test_of_a_merged_user_it_says_into_whom(
    client: aiohttp.ClientSession, token: Token, institution: Institution, admin: int, conn: asyncpg.Connection
) -> None:
    """At the end of the chain, and only to those who may act as others."""
    first, second, living, gone = await institution.users(4)
    merged = "UPDATE users SET workflow_state = 'deleted', merged_into_user_id = $2 WHERE id = $1"
    await conn.executemany(merged, [(first, second), (second, living), (gone, None)])
    headers = await token(admin)

    for user in (first, second):
        answer = {**INVALID_AS_USER, "merged_into_user_id": living}
        assert await refused(client, headers, as_user_id=str(user)) == (401, answer, False)
    assert await refused(client, headers, as_user_id=str(gone)) == (401, INVALID_AS_USER, False)
    stranger = await token(await institution.user())
    assert await refused(client, stranger, as_user_id=str(first)) == (401, INVALID_AS_USER, False)
    await conn.execute("UPDATE users SET workflow_state = 'deleted' WHERE id = $1", living)
    assert await refused(client, headers, as_user_id=str(first)) == (401, INVALID_AS_USER, False)
    await conn.executemany(merged, [(living, first)])
    assert await refused(client, headers, as_user_id=str(first)) == (401, INVALID_AS_USER, False)


async def test_a_site_admin_acts_as_anybody(
    client: aiohttp.ClientSession, token: Token, institution: Institution, admin: int
) -> None:
    site, operator = await institution.account(site_admin=True), await institution.user()
    await institution.admin(operator, account=site)

    assert await echoed(client, await token(operator), as_user_id=str(admin)) == (admin, operator)
    assert await refused(client, await token(admin), as_user_id=str(operator)) == (401, INVALID_AS_USER, False)


async def test_acting_as_the_fake_student_has_no_conversations_either(
    client: aiohttp.ClientSession, token: Token, institution: Institution, admin: int
) -> None:
    fake = await institution.user()
    await institution.enroll(await institution.course(), fake, "StudentView")

    path = f"/api/v1/conversations?as_user_id={fake}"
    async with client.get(path, headers=await token(admin)) as answer:
        assert answer.status == 403
