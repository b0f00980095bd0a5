"""The issuer's keys: fetched in the background, from an issuer that rotates, lies, hangs and dies, and from a file."""

import asyncio
import http.server
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from service.domain.jwt import Expected, Unacceptable, UserKey
from service.runtime.jwt import keys as holding
from service.runtime.jwt import source as sources
from service.runtime.jwt.keys import Keys
from service.runtime.jwt.source import Address, File, SourceError, source_of
from service.runtime.jwt.verifier import Verifier
from tests.support.issuer import AUDIENCE, ISSUER, Issuer, SigningKey, issuer, key_set
from tests.support.waiting import PATIENCE, until

FIRST, SECOND, THIRD = SigningKey("first"), SigningKey("second"), SigningKey("third", "EdDSA")


@pytest.fixture(scope="module")
async def shared_issuer() -> AsyncIterator[Issuer]:
    async with issuer() as made:
        yield made


@pytest.fixture
async def there(shared_issuer: Issuer) -> Issuer:
    """An issuer that publishes the first key."""
    await shared_issuer.publish(FIRST)
    return shared_issuer


@asynccontextmanager
async def kept(jwks: str) -> AsyncIterator[tuple[Keys, Verifier]]:
    """Keys that are kept up to date, and a verifier."""
    keys = Keys(source_of(jwks))
    keys.start()
    try:
        yield keys, Verifier(keys, Expected(ISSUER, AUDIENCE, "sub", UserKey.UUID, shard_id=1))
    finally:
        await keys.close()


async def takes(verifier: Verifier, key: SigningKey) -> bool:
    try:
        await verifier.verify(key.token("u-1"))
    except Unacceptable:
        return False
    return True


async def test_the_first_token_waits_for_the_first_keys(there: Issuer) -> None:
    """And asks for no others: of those it may do so once a minute."""
    before = await there.asked()
    async with kept(there.url) as (_, verifier):
        assert await takes(verifier, FIRST)
        assert await there.asked() == before + 1

        await there.publish(SECOND)
        assert await takes(verifier, SECOND)
        assert await there.asked() == before + 2


async def test_unknown_keys_are_looked_for_once_a_minute(there: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    async with kept(there.url) as (_, verifier):
        assert await takes(verifier, FIRST)
        before = await there.asked()
        await there.publish(FIRST, SECOND)

        # All that come meanwhile wait for the same fetch.
        assert await asyncio.gather(*(takes(verifier, key) for key in (SECOND, FIRST, SECOND))) == [True] * 3
        assert await there.asked() == before + 1
        await there.publish(THIRD)
        assert [await takes(verifier, THIRD) for _ in range(3)] == [False] * 3
        assert await there.asked() == before + 1

        monkeypatch.setattr(holding, "ASK_AGAIN", 0)
        assert await takes(verifier, THIRD)
        assert await there.asked() == before + 2
        assert not await takes(verifier, FIRST)


async def test_a_set_of_one_key_without_an_id_is_followed_too(there: Issuer) -> None:
    old, new = SigningKey(None), SigningKey(None, number=2)
    await there.publish(old)
    async with kept(there.url) as (_, verifier):
        assert await takes(verifier, old)
        await there.publish(new)

        assert await takes(verifier, new)
        assert not await takes(verifier, old)


async def test_keys_are_fetched_again_in_time(there: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so a key that is withdrawn stops its tokens, without any unknown one."""
    monkeypatch.setattr(Address, "interval", 0.05)
    async with kept(there.url) as (keys, verifier):
        assert await takes(verifier, FIRST)
        await there.publish(SECOND)

        await until(lambda: keys.current.document == key_set([SECOND]).encode())
        monkeypatch.setattr(holding, "PATIENCE", 0)
        assert not await takes(verifier, FIRST)


async def test_an_issuer_that_hangs_holds_up_no_known_key(there: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FETCH", sources.FETCH.__class__(total=PATIENCE))
    monkeypatch.setattr(holding, "PATIENCE", PATIENCE)
    async with kept(there.url) as (_, verifier):
        assert await takes(verifier, FIRST)
        await there.publish(FIRST, SECOND)
        with there.hanging():
            waiting = asyncio.create_task(takes(verifier, SECOND))
            await asyncio.sleep(0)  # it has begun

            for _ in range(5):
                assert await takes(verifier, FIRST)
            assert not waiting.done()

        assert await waiting


async def test_a_request_waits_for_an_issuer_that_hangs_a_while_only(
    there: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holding, "PATIENCE", 0.1)
    async with kept(there.url) as (keys, verifier):
        await until(lambda: len(keys.current) == 1)
        with there.hanging():
            assert not await takes(verifier, SECOND)
            assert await takes(verifier, FIRST)


async def test_a_fetch_ends_in_time(there: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "FETCH", sources.FETCH.__class__(total=0.1))
    with there.hanging(), pytest.raises(SourceError, match="no answer in time"):
        await Address(there.url).read()


async def test_keys_go_on_serving_while_the_issuer_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Address, "interval", 0.01)
    monkeypatch.setattr(Address, "retry", (0.01, 0.01))
    async with issuer() as mortal:
        await mortal.publish(FIRST)
        async with kept(mortal.url) as (keys, verifier):
            assert await takes(verifier, FIRST)
            await mortal.die()
            await until(lambda: keys.failure != "")

            assert await takes(verifier, FIRST)
            assert not await takes(verifier, SECOND)


async def test_an_issuer_that_comes_later_is_found(there: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a token that asks for it."""
    monkeypatch.setattr(Address, "retry", (0.01, 0.01))
    await there.answer("not yet", 503)
    async with kept(there.url) as (keys, verifier):
        await until(lambda: keys.failure == "it answers 503")
        await there.publish(FIRST)

        await until(lambda: len(keys.current) == 1)
        assert await takes(verifier, FIRST)


async def test_a_redirection_is_not_followed(there: Issuer) -> None:
    await there.answer(key_set([SECOND]), 302, Location=there.url + "/elsewhere")

    with pytest.raises(SourceError, match="302"):
        await Address(there.url).read()


@pytest.fixture
def endless() -> Iterator[str]:
    """The URL of a server that never stops answering."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            try:
                while True:
                    self.wfile.write(b" " * 65_536)
            except ConnectionError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_an_endless_answer_is_cut_off(endless: str) -> None:
    with pytest.raises(SourceError, match="more than"):
        await Address(endless).read()


async def test_lies_leave_the_keys_alone(there: Issuer) -> None:
    async with kept(there.url) as (keys, verifier):
        assert await takes(verifier, FIRST)
        for lie in ("<html>", '{"keys": 1}', "{}", ""):
            await there.answer(lie)
            with pytest.raises(SourceError):
                await keys.look()
            assert await takes(verifier, FIRST)


async def test_a_file_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """However it is replaced: written over, or as a link that leads elsewhere, as secrets are mounted."""
    monkeypatch.setattr(File, "interval", 0.01)
    monkeypatch.setattr(File, "retry", (0.01, 0.01))
    one, other, path = tmp_path / "one", tmp_path / "other", tmp_path / "keys.json"
    one.write_text(key_set([FIRST]))
    path.symlink_to(one)
    async with kept(str(path)) as (keys, verifier):
        assert await takes(verifier, FIRST)

        one.write_text(key_set([SECOND]))
        await until(lambda: keys.current.document == one.read_bytes())
        assert await takes(verifier, SECOND)

        other.write_text(key_set([THIRD]))
        (tmp_path / "new").symlink_to(other)
        (tmp_path / "new").rename(path)
        await until(lambda: keys.current.document == other.read_bytes())
        assert await takes(verifier, THIRD)

        path.unlink()
        await until(lambda: keys.failure != "")
        assert await takes(verifier, THIRD)


async def test_a_file_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    reasons = {tmp_path: "directory", tmp_path / "none": "No such file", Path("/dev/zero"): "more than"}
    for path, reason in reasons.items():
        with pytest.raises(SourceError, match=reason):
            await source_of(str(path)).read()
