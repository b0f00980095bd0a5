"""Sign-in by a JWT, with Clarion's own processes."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from service.runtime.settings import Settings
from tests.support.commands import clarion
from tests.support.institution import Institution
from tests.support.issuer import AUDIENCE, ISSUER, SigningKey, issuer, key_set
from tests.support.processes import Client, Installation
from tests.support.waiting import until
from tests.support.wrong_clock import wrong_clock

AsUser = Callable[[int], Awaitable[Client]]
KEY = SigningKey()
HOUR = 3600.0


def signing_in(jwks: str) -> dict[str, str]:
    return {"CLARION_JWT_ISSUER": ISSUER, "CLARION_JWT_JWKS": jwks, "CLARION_JWT_AUDIENCE": AUDIENCE}


@pytest.fixture
async def ada(institution: Institution, conn: asyncpg.Connection) -> int:
    made = await institution.user()
    await conn.execute("UPDATE users SET uuid = 'ada' WHERE id = $1", made)
    return made


async def test_a_gateway_starts_without_its_issuer_and_finds_it_later(
    running: Installation, as_user: AsUser, ada: int
) -> None:
    async with issuer() as there, aiohttp.ClientSession() as session:
        await there.answer("not yet", 503)
        api = await running.api(**signing_in(there.url))
        await api.logged("jwt_keys_not_fetched")
        with_token, with_jwt = await as_user(ada), Client(session, running.url, KEY.token("ada"))
        assert [(await client.call("GET", "/users/self"))[0] for client in (with_token, with_jwt)] == [200, 401]
        await until(lambda: any('"jwt_refused": "there is no such key"' in line for line in api.lines))

        await there.publish(KEY)
        await api.logged("jwt_keys_changed")

        status, body, _ = await with_jwt.call("GET", "/users/self")
        assert (status, body["id"]) == (200, ada)
        assert "clarion_jwt_keys 1.0" in await with_jwt.metrics()
        there_is_no = KEY.token("ada").partition(".")[0]
        assert not any(there_is_no in line for line in api.lines)


@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
async def test_the_databases_clock_says_whether_a_token_is_valid(
    running: Installation, ada: int, *, conn: asyncpg.Connection, tmp_path: Path, seconds: float
) -> None:
    """As it does for access tokens."""
    (keys := tmp_path / "keys.json").write_text(key_set([KEY]))
    now = float(await conn.fetchval("SELECT extract(epoch FROM now())"))
    running.fresh = True
    with wrong_clock(seconds) as wrong:
        await running.api(**wrong, **signing_in(str(keys)))
    async with aiohttp.ClientSession() as session:
        for expires, not_before, status in (
            (now + 600, now - 600, 200),
            (now - 120, now - 600, 401),
            (now + 7200, now + 600, 401),
        ):
            client = Client(session, running.url, KEY.token("ada", exp=expires, nbf=not_before))
            assert [(await client.call("GET", "/users/self"))[0] for _ in range(2)] == [status] * 2


@pytest.mark.parametrize(("content", "reason"), [(None, "cannot be read: No such file"), ("{}", "it is no key set")])
async def test_a_file_without_keys_stops_the_start(
    settings: Settings, tmp_path: Path, content: str | None, reason: str
) -> None:
    path = tmp_path / "keys.json"
    if content is not None:
        path.write_text(content)

    signed_in = settings.model_copy(update={"jwt_issuer": ISSUER, "jwt_jwks": str(path), "jwt_audience": AUDIENCE})
    done = await clarion(signed_in, "api", CLARION_LOG_LEVEL="error")

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith(f"clarion: CLARION_JWT_JWKS: {path}: {reason}")
    assert done.err.count("\n") == 1
