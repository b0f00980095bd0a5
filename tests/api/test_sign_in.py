"""Requests whose bearer is a JWT of the institution's issuer (CONTRACT 3.5)."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import pytest
from aiohttp import web

from service.api.app import build_app
from service.api.authentication import authorise_again, caller
from service.api.batch_events import PACE, Pace
from service.api.routing import register
from service.domain.jwt import UserKey
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.batches import Batches
from tests.support.gateway import ECHO
from tests.support.http_calls import call
from tests.support.institution import Institution
from tests.support.issuer import AUDIENCE, ISSUER, Issuer, SigningKey, issuer
from tests.support.waiting import PATIENCE, until

Gateway = Callable[..., Awaitable[aiohttp.ClientSession]]
Token = Callable[..., Awaitable[dict[str, str]]]

KEY = SigningKey("first")
ME = "/api/v1/echo/1"
INVALID = (401, {"errors": [{"message": "Invalid access token."}]}, 'Bearer realm="canvas-lms"')


@pytest.fixture(scope="module")
async def shared_issuer() -> AsyncIterator[Issuer]:
    async with issuer() as made:
        yield made


@pytest.fixture
async def there(shared_issuer: Issuer) -> Issuer:
    await shared_issuer.publish(KEY)
    return shared_issuer


@pytest.fixture
def gateway(
    edge_settings: Settings,
    pool: asyncpg.Pool,
    broker: Publisher,
    serve: Callable[[web.Application], Awaitable[aiohttp.ClientSession]],
    there: Issuer,
) -> Gateway:
    """Starts a gateway that takes JWTs of the issuer."""

    async def start(**changed: Any) -> aiohttp.ClientSession:
        signing_in = {"jwt_issuer": ISSUER, "jwt_jwks": there.url, "jwt_audience": AUDIENCE, **changed}
        app = build_app(edge_settings.model_copy(update=signing_in), pool, broker)
        app[PACE] = Pace(heartbeat=0.01, check=0)
        register(app, ECHO)
        return await serve(app)

    return start


@pytest.fixture
async def client(gateway: Gateway) -> aiohttp.ClientSession:
    return await gateway()


@pytest.fixture
async def ada(institution: Institution, conn: asyncpg.Connection) -> int:
    """A user of every name."""
    made = await institution.user()
    await conn.execute("UPDATE users SET uuid = 'ada', sis_id = 'S1', login = 'ada@x.example' WHERE id = $1", made)
    return made


def bearing(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def answered(client: aiohttp.ClientSession, token: str, path: str = ME) -> tuple[int, Any, str | None]:
    async with client.get(path, headers=bearing(token)) as answer:
        return answer.status, await answer.json(), answer.headers.get("WWW-Authenticate")


async def who(client: aiohttp.ClientSession, token: str) -> int:
    status, body, _ = await answered(client, token)
    assert status == 200, body
    return int(body["user_id"])


async def test_a_jwt_is_taken_wherever_a_token_is(client: aiohttp.ClientSession, ada: int, token: Token) -> None:
    jwt = KEY.token("ada")

    assert await who(client, jwt) == ada
    async with client.get(ME, params={"access_token": jwt}) as answer:
        assert (await answer.json())["user_id"] == ada
    async with client.post(ME, data={"access_token": jwt}) as answer:
        assert (await answer.json())["user_id"] == ada
    async with client.get(ME, headers=await token(7)) as answer:
        assert (await answer.json())["user_id"] == 7
    assert (await call(client, bearing(jwt), "GET", "/users/self"))["id"] == ada


@pytest.mark.parametrize(
    ("key", "name"),
    [(UserKey.ID, None), (UserKey.UUID, "ada"), (UserKey.SIS_ID, "S1"), (UserKey.LOGIN, "ada@x.example")],
)
async def test_the_claim_names_the_user_by_the_key(gateway: Gateway, ada: int, key: UserKey, name: str | None) -> None:
    client = await gateway(jwt_user_key=key, jwt_user_claim="person")

    assert await who(client, KEY.token("nobody", person=name or ada)) == ada
    assert await answered(client, KEY.token(name or ada)) == INVALID
    assert await answered(client, KEY.token("x", person="99999999")) == INVALID


async def test_whatever_is_wrong_is_answered_like_an_unknown_token(
    client: aiohttp.ClientSession, ada: int, token: Token
) -> None:
    now = time.time()
    assert await answered(client, "unknown") == INVALID
    wrongs: list[dict[str, Any]] = [
        {"iss": "https://elsewhere.example"},
        {"aud": ["other"]},
        {"exp": None},
        {"exp": now - 100},
        {"nbf": now + 100},
        {"sub": "unknown"},
        {"scope": 5},
    ]
    for wrong in wrongs:
        assert await answered(client, KEY.token(**{"sub": "ada", **wrong})) == INVALID, wrong
    for key in (SigningKey("first", number=2), SigningKey("first", "RS256"), SigningKey("second")):
        assert await answered(client, key.token("ada")) == INVALID
    assert await answered(client, "a.b.c") == INVALID
    assert await answered(client, KEY.token("ada") + ".d") == INVALID


async def test_clocks_may_differ_by_a_minute(client: aiohttp.ClientSession, ada: int) -> None:
    now = time.time()

    assert await who(client, KEY.token("ada", exp=now - 20, nbf=now + 20)) == ada


async def test_a_deleted_user_is_refused_and_so_is_a_name_of_two(
    client: aiohttp.ClientSession, ada: int, institution: Institution, conn: asyncpg.Connection
) -> None:
    jwt, other = KEY.token("ada"), await institution.user()
    assert await who(client, jwt) == ada

    await conn.execute("UPDATE users SET uuid = 'ada' WHERE id = $1", other)
    assert await answered(client, jwt) == INVALID
    await conn.execute("UPDATE users SET workflow_state = 'deleted' WHERE id = $1", other)
    assert await who(client, jwt) == ada
    await conn.execute("UPDATE users SET workflow_state = 'deleted' WHERE id = $1", ada)
    assert await answered(client, jwt) == INVALID


@pytest.mark.parametrize("as_text", [True, False])
async def test_scopes_limit_as_those_of_a_token_do(client: aiohttp.ClientSession, ada: int, *, as_text: bool) -> None:
    scopes = ["openid", "url:GET|/api/v1/echo/:id"]
    limited = KEY.token("ada", scope=" ".join(scopes) if as_text else scopes)

    assert await who(client, limited) == ada
    refused = (401, {"errors": [{"message": "Insufficient scopes on access token."}]}, None)
    assert await answered(client, limited, "/api/v1/users/self") == refused
    assert await who(client, KEY.token("ada", scope="openid profile")) == ada


async def test_a_jwt_acts_as_another(client: aiohttp.ClientSession, ada: int, institution: Institution) -> None:
    other = await institution.user()
    path = f"{ME}?as_user_id={other}"
    status, _, _ = await answered(client, KEY.token("ada"), path)
    assert status == 401
    await institution.admin(ada)

    status, body, _ = await answered(client, KEY.token("ada"), path)

    assert (status, body["user_id"], body["real_user_id"]) == (200, other, ada)


async def test_an_idempotency_key_is_the_users_whatever_the_token(
    client: aiohttp.ClientSession, ada: int, institution: Institution, token: Token
) -> None:
    course, other = await institution.course(), await institution.user()
    await institution.enroll(course, ada, "Teacher")
    await institution.enroll(course, other)
    made = []
    for headers in (bearing(KEY.token("ada")), bearing(KEY.token("ada", jti="2")), await token(ada)):
        body = {"recipients": [str(other)], "body": "Hello"}
        keyed = headers | {"Idempotency-Key": "once"}
        made.append(await call(client, keyed, "POST", "/conversations", status=201, json=body))

    assert made[0] == made[1] == made[2]


async def test_all_tokens_of_a_user_share_a_bucket(
    gateway: Gateway, ada: int, institution: Institution, conn: asyncpg.Connection
) -> None:
    """Or a client would have as many as it can get tokens."""
    client = await gateway(throttle_outflow=0.001)
    other = await institution.user()
    await conn.execute("UPDATE users SET uuid = 'other' WHERE id = $1", other)
    for name in ("ada", "ada", "other"):
        await who(client, KEY.token(name, jti=name))
    assert await conn.fetchval("SELECT count(*) FROM throttle_buckets") == 2
    for number in range(15):  # each gives back what it has reserved
        await who(client, KEY.token("ada", jti=number))

    await conn.execute("UPDATE throttle_buckets SET empties_at = now() + interval '10 days'")
    async with client.get(ME, headers=bearing(KEY.token("ada"))) as answer:
        assert answer.status == 429


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For whom streams went on when their tokens were looked at again."""
    passed: list[int] = []

    async def look(request: web.Request) -> None:
        await authorise_again(request)
        passed.append(caller(request).user_id)

    monkeypatch.setattr("service.api.batch_events.authorise_again", look)
    return passed


@pytest.mark.parametrize("ending", ["key", "user"])
async def test_a_stream_ends_with_its_token(
    gateway: Gateway, there: Issuer, ada: int, *, conn: asyncpg.Connection, looks: list[int], ending: str
) -> None:
    """Like one that a withdrawn access token has opened."""
    client, batch = await gateway(), await Batches(conn).accept([10], chunk_size=1, sender=ada)
    path = f"/api/v1/conversations/batches/{batch}/events"
    async with client.get(path, headers=bearing(KEY.token("ada"))) as stream:
        await until(lambda: len(looks) > 3)  # and has gone on
        if ending == "key":
            await there.publish(SigningKey("second"))
            assert (await answered(client, SigningKey("second").token("nobody"))) == INVALID  # has it looked for
        else:
            await conn.execute("UPDATE users SET workflow_state = 'deleted' WHERE id = $1", ada)

        async with asyncio.timeout(PATIENCE):
            await stream.content.read()


async def test_with_the_issuer_away_tokens_and_known_keys_work(
    gateway: Gateway, ada: int, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.runtime.jwt.keys.PATIENCE", 0.1)
    async with issuer() as mortal:
        await mortal.publish(KEY)
        client = await gateway(jwt_jwks=mortal.url)
        assert await who(client, KEY.token("ada")) == ada
        await mortal.die()
        nowhere = await gateway(jwt_jwks=mortal.url)

        assert await who(client, KEY.token("ada", jti="new")) == ada
        for each in (client, nowhere):
            assert await answered(each, SigningKey("second").token("ada")) == INVALID
            async with each.get(ME, headers=await token(ada)) as answer:
                assert answer.status == 200


async def test_an_issuer_that_hangs_holds_up_no_other_request(
    gateway: Gateway, there: Issuer, ada: int, token: Token, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even the start of a gateway."""
    monkeypatch.setattr("service.runtime.jwt.keys.PATIENCE", PATIENCE)
    monkeypatch.setattr("service.runtime.jwt.source.FETCH", aiohttp.ClientTimeout(total=PATIENCE))
    second, client = SigningKey("second"), await gateway()
    assert await who(client, KEY.token("ada")) == ada
    await there.publish(KEY, second)
    with there.hanging():
        waiting = asyncio.create_task(who(client, second.token("ada")))
        for _ in range(3):
            assert await who(client, KEY.token("ada", jti="new")) == ada
        other = await gateway()
        async with other.get(ME, headers=await token(ada)) as answer:
            assert answer.status == 200
        assert not waiting.done()
    assert await waiting == ada


async def test_where_no_issuer_is_set_a_jwt_is_an_unknown_token(gateway: Gateway, ada: int) -> None:
    client = await gateway(jwt_issuer="")

    assert await answered(client, KEY.token("ada")) == INVALID


async def test_the_document_says_that_the_bearer_may_be_a_jwt(client: aiohttp.ClientSession) -> None:
    async with client.get("/openapi.json") as answer:
        schemes = (await answer.json())["components"]["securitySchemes"]

    assert "JWT" in schemes["token"]["description"]
