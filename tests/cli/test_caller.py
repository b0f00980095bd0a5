"""What stands between the client's commands and the service: other sites, TLS and proxies, each named in one line."""

import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
from aiohttp import web

from service.runtime.settings import Settings
from tests.cli.conftest import Person
from tests.support.processes import Installation, free_port
from tests.support.tcp_proxy import tcp_proxy

_LIST = ("batch", "list", "--json")


@dataclass(frozen=True)
class Site:
    """One that is not Clarion; on ``tls_port`` it has a certificate of ``authority`` for localhost."""

    port: int
    tls_port: int
    authority: trustme.CA


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    """Its pages are no JSON, JSON of something else, elsewhere and in error; and it has one batch list, which is empty,
    and one that was busy when it was first asked for.
    """
    asked = 0

    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<html>Welcome</html>", content_type="text/html")

    async def moved(_request: web.Request) -> web.Response:
        raise web.HTTPMovedPermanently("https://elsewhere.example/")

    async def other(_request: web.Request) -> web.Response:
        return web.json_response([{"name": "no batch"}])

    async def empty(_request: web.Request) -> web.Response:
        return web.json_response([])

    async def broken(_request: web.Request) -> web.Response:
        return web.Response(status=500, text="<html>An error</html>", content_type="text/html")

    async def wordy(_request: web.Request) -> web.Response:
        return web.Response(status=400, text="no\n\x1b[31m" * 1000)

    async def latin(_request: web.Request) -> web.Response:
        return web.Response(body="<html>Grüße</html>".encode("latin-1"), content_type="text/html", charset="utf-8")

    async def busy(_request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        return web.Response(status=503, text="<html>Later</html>") if asked == 1 else web.json_response([])

    app = web.Application()
    for handler in (page, moved, other, empty, broken, wordy, latin, busy):
        app.router.add_get(f"/{handler.__name__}/api/v1/conversations/batches", handler)
    app.router.add_post("/other/api/v1/conversations", other)
    made = Site(free_port(), free_port(), trustme.CA())
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    made.authority.issue_cert("localhost").configure_cert(context)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "localhost", made.port).start()
    await web.TCPSite(runner, "localhost", made.tls_port, ssl_context=context).start()
    yield made
    await runner.cleanup()


async def test_another_site_is_told_apart_in_one_line(settings: Settings, site: Site) -> None:
    base = f"http://localhost:{site.port}"
    person = Person(settings, base, "t")

    page, moved, other, nothing = [
        await person.at(f"{base}/{path}")(*_LIST) for path in ("page", "moved", "other", "no/such/path")
    ]

    strange = f"clarion: CLARION_URL: {base}/{{}} does not answer as Clarion does: {{}}, not JSON\n"
    assert page == (1, "", strange.format("page/", "200 OK and text/html"))
    assert nothing == (1, "", strange.format("no/such/path/", "404 Not Found and text/plain"))
    assert moved == (1, "", f"clarion: CLARION_URL: {base}/moved/ has moved: 301 to 'https://elsewhere.example/'\n")
    assert other == (1, "", "clarion: CLARION_URL: the answer is no batch as Clarion shows it\n")


async def test_what_another_site_answers_to_a_message_is_no_success(settings: Settings, site: Site) -> None:
    person = Person(settings, f"http://localhost:{site.port}/other", "t")

    done = await person("send", "--to", "1", "--subject", "S", "--body", "B", "--idempotency-key", "k")

    assert done == (1, "", "clarion: CLARION_URL: the answer is no list of conversations as Clarion gives it\n")


async def test_of_an_error_page_the_status_is_said_and_of_a_long_answer_the_beginning(
    settings: Settings, site: Site
) -> None:
    base = f"http://localhost:{site.port}"
    person = Person(settings, base, "t")

    broken, wordy, latin = [await person.at(f"{base}/{path}")(*_LIST) for path in ("broken", "wordy", "latin")]

    assert broken == (1, "", "clarion: 500 Internal Server Error\n")
    assert (wordy.code, wordy.err[:40]) == (1, r"clarion: 400 Bad Request: no \x1b[31mno ")
    assert len(wordy.err) < 1000
    assert "does not answer as Clarion does: 200 OK and text/html" in latin.err


async def test_a_service_that_is_busy_is_asked_again(settings: Settings, site: Site) -> None:
    done = await Person(settings, f"http://localhost:{site.port}/busy", "t")(*_LIST)

    assert done == (0, "[]\n", "clarion: 503 Service Unavailable; trying again\n")


async def test_a_certificate_must_be_trusted(settings: Settings, site: Site, tmp_path: Path) -> None:
    authority = tmp_path / "authority.pem"
    site.authority.cert_pem.write_to_path(str(authority))
    person = Person(settings, f"https://localhost:{site.tls_port}/empty", "t")

    trusted = await person(*_LIST, fresh=True, SSL_CERT_FILE=str(authority))
    unknown = await person(*_LIST)
    plain = await person.at(f"https://localhost:{site.port}/empty")(*_LIST)

    assert trusted == (0, "[]\n", "")
    assert [done.code for done in (unknown, plain)] == [1, 1]
    assert unknown.err.startswith("clarion: CLARION_URL: the certificate of localhost is not trusted: ")
    assert plain.err.startswith(f"clarion: CLARION_URL: no TLS with https://localhost:{site.port}/empty/: ")
    assert [done.err.count("\n") for done in (unknown, plain)] == [1, 1]


async def test_the_usual_variables_name_a_proxy(running: Installation, teacher: Person) -> None:
    """The gateway understands requests as they are sent to a proxy."""
    away = teacher.at("http://clarion.invalid")
    async with tcp_proxy("127.0.0.1", running.settings.port) as proxy:
        through = await away(*_LIST, http_proxy=f"http://127.0.0.1:{proxy.port}")
        around = await teacher(*_LIST, http_proxy=f"http://127.0.0.1:{proxy.port}", no_proxy="127.0.0.1")

    closed = await away(*_LIST, http_proxy=f"http://me:secret@127.0.0.1:{free_port()}")
    other = await away(*_LIST, http_proxy="socks5://127.0.0.1:1080")
    none = await away(*_LIST, http_proxy="http://127.0.0.1:99999")

    assert through == around == (0, "[]\n", "")
    assert proxy.asked.count(b"GET http://clarion.invalid/api/v1/conversations/batches?") == 1
    assert proxy.asked.count(b"GET ") == 1
    assert (closed.code, other.code) == (1, 1)
    assert closed.err.startswith("clarion: HTTP_PROXY: cannot reach http://clarion.invalid/ by the proxy http://127.0.")
    assert "secret" not in closed.err
    assert other == none
    assert other.err == "clarion: HTTP_PROXY: a proxy is http://HOST:PORT\n"
