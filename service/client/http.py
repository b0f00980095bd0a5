"""Requests to the HTTP API that are repeated where that is safe, and fail in one line."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
import stamina
from aiohttp import hdrs
from yarl import URL

from service.client.failures import RequestFailed, refusal_of, unreachable

PATIENCE = 60.0  # seconds, in which a request is repeated

_PASSING = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
_LONGEST_LINE = 4 * 2**20  # bytes: a batch in an event stream is one, with its message

Notice = Callable[[str], None]
T = TypeVar("T")


class _Passing(Exception):
    """An answer that may be different in a moment. ``after``: seconds that the service asks to wait."""

    def __init__(self, message: str, after: float | None) -> None:
        super().__init__(message)
        self.after = after


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. ``body``: parsed JSON."""

    status: int
    headers: Mapping[str, str]
    body: Any
    next_page: str | None = None  # of a paginated answer: what to ask for as ``page``


class Client:
    """One caller of one service; an async context manager. RequestFailed where the address or the token can be none.

    ``notice``: is given a line when a request is about to be repeated, once for each request.
    """

    def __init__(self, url: str, token: str, notice: Notice = lambda _: None) -> None:
        self._url = _service(url)
        self._proxy = _proxy(self._url)
        self._notice = notice
        self._reached = False  # an address that has never answered is rather wrong than away
        if not (token.isascii() and token.isprintable() and token.strip()):
            raise RequestFailed("CLARION_TOKEN: this is no token: it has other characters than one can have")
        self._session = aiohttp.ClientSession(
            self._url,
            headers={hdrs.AUTHORIZATION: f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(total=300, sock_connect=10),
            proxy=self._proxy,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def get(
        self, path: str, parameters: Mapping[str, Any] | None = None, *, patience: float = PATIENCE
    ) -> Answer:
        """``path``: below /api/v1/conversations. ``patience``: seconds, in which it is repeated without an answer."""
        return await self._repeated(lambda: self._once("GET", path, params=parameters), patience)

    async def post(self, path: str, parameters: Mapping[str, Any], *, key: str | None) -> Answer:
        """``key``: an idempotency key, under which it may be repeated; None for what changes nothing."""
        headers = {} if key is None else {"Idempotency-Key": key}
        return await self._repeated(lambda: self._once("POST", path, json=parameters, headers=headers), PATIENCE)

    async def _repeated(self, request: Callable[[], Awaitable[T]], patience: float) -> T:
        noticed = False

        def again(error: Exception) -> bool | float:
            nonlocal noticed
            wait = self._wait(error, patience)
            if wait and not noticed:
                noticed = True
                self._notice(f"{self._reason(error)}; trying again")
            return wait

        try:
            async for attempt in stamina.retry_context(on=again, attempts=None, timeout=patience):
                with attempt:
                    answer = await request()
        except (aiohttp.ClientError, TimeoutError, _Passing) as error:
            uncertain = not isinstance(error, aiohttp.ClientConnectorError) or self._reached
            raise RequestFailed(self._reason(error), uncertain=uncertain) from None
        return answer

    async def _once(self, method: str, path: str, **arguments: Any) -> Answer:
        async with self._session.request(method, _relative(path), allow_redirects=False, **arguments) as response:
            await self._admit(response)
            text = await response.text(errors="replace")
            following = response.links.get("next")
        try:
            body = orjson.loads(text)
        except orjson.JSONDecodeError:
            raise self._no_service(response) from None
        page = URL(following["url"]).query.get("page") if following is not None else None
        return Answer(response.status, response.headers, body, page)

    @asynccontextmanager
    async def opened(
        self,
        path: str,
        *,
        accept: str,
        silence: float,
        patience: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A GET whose answer is read while it comes. ``silence``: the most seconds between two parts of it.

        ``patience``: see Client.get; without it one attempt is made. RequestFailed for a refusal;
        aiohttp.ClientError and TimeoutError where it breaks.
        """
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=silence)

        async def begin() -> aiohttp.ClientResponse:
            response = await self._session.get(
                _relative(path),
                headers={hdrs.ACCEPT: accept, **(headers or {})},
                timeout=timeout,
                allow_redirects=False,
                read_bufsize=_LONGEST_LINE,
            )
            try:
                await self._admit(response)
            except BaseException:
                response.close()
                raise
            return response

        try:
            response = await (begin() if patience is None else self._repeated(begin, patience))
        except _Passing as error:
            raise aiohttp.ClientConnectionError(str(error)) from None
        async with response:
            yield response

    def broken(self, error: Exception) -> RequestFailed:
        """For an answer that was ``opened`` and has ended too early."""
        return RequestFailed(self._reason(error))

    async def _admit(self, response: aiohttp.ClientResponse) -> None:
        """_Passing or RequestFailed for what is no answer to the question."""
        self._reached = True
        status, reason = response.status, response.reason
        if status < HTTPStatus.MULTIPLE_CHOICES:
            return
        if status < HTTPStatus.BAD_REQUEST:
            raise RequestFailed(f"CLARION_URL: {self._url} has moved: {status} to {response.headers.get('Location')!r}")
        text = await response.text(errors="replace")
        refusal = refusal_of(status, reason, text)
        if status in _PASSING or _is_passing(status, text):
            raise _Passing(refusal, _seconds(response.headers.get(hdrs.RETRY_AFTER)))
        if status == HTTPStatus.UNAUTHORIZED:
            raise RequestFailed(f"{refusal} (is CLARION_TOKEN right?)")
        if status == HTTPStatus.NOT_FOUND and response.content_type != "application/json":
            raise self._no_service(response)
        if status == HTTPStatus.NOT_FOUND:
            hint = "is the id right, and may this caller see what it names?"
            raise RequestFailed(f"{refusal} ({hint})", not_found=True)
        raise RequestFailed(refusal, uncertain=status >= HTTPStatus.INTERNAL_SERVER_ERROR)

    def _no_service(self, response: aiohttp.ClientResponse) -> RequestFailed:
        return RequestFailed(
            f"CLARION_URL: {self._url} does not answer as Clarion does:"
            f" {response.status} {response.reason} and {response.content_type}, not JSON"
        )

    def _wait(self, error: Exception, patience: float) -> bool | float:
        """Whether to try again, or in how many seconds."""
        match error:
            case _Passing(after=float(after)):
                return after if after < patience else False
            case _Passing():
                return True
            case aiohttp.ClientSSLError() | aiohttp.ClientConnectorCertificateError():
                return False
            case aiohttp.ClientConnectorError():
                return self._reached
            case aiohttp.ClientConnectionError() | aiohttp.ClientPayloadError() | TimeoutError():
                self._reached = True
                return True
        return False

    def _reason(self, error: Exception) -> str:
        return str(error) if isinstance(error, _Passing) else unreachable(self._url, self._proxy, error)


def _relative(path: str) -> str:
    return f"api/v1/conversations{path}"


def _service(url: str) -> URL:
    try:
        known = URL(url)
    except ValueError:
        known = URL()
    if known.scheme not in {"http", "https"} or not known.host:
        raise RequestFailed(f"CLARION_URL: {url!r} is no address of a service, such as http://127.0.0.1:8080")
    if known.user is not None or known.password is not None:
        raise RequestFailed("CLARION_URL: a user and a password in it are not used; the token goes to CLARION_TOKEN")
    return known.with_path(known.path.rstrip("/") + "/", encoded=False)


def _proxy(url: URL) -> URL | None:
    """By HTTP_PROXY, HTTPS_PROXY and NO_PROXY. aiohttp would read ~/.netrc as well, which may name another caller."""
    named = getproxies().get(url.scheme)
    if named is None or proxy_bypass(f"{url.host}:{url.port}"):
        return None
    try:
        proxy = URL(named if "://" in named else f"http://{named}")
    except ValueError:
        proxy = URL()
    if proxy.scheme not in {"http", "https"} or not proxy.host:
        raise RequestFailed(f"{url.scheme.upper()}_PROXY: a proxy is http://HOST:PORT")
    return proxy


def _is_passing(status: int, text: str) -> bool:
    """A send under the same key that is under way, or throttling where an institution has that say 403."""
    said: dict[int, str] = {HTTPStatus.CONFLICT: "idempotency_key", HTTPStatus.FORBIDDEN: "Rate Limit Exceeded"}
    return status in said and said[status] in text


def _seconds(retry_after: str | None) -> float | None:
    try:
        return max(float(retry_after), 0.1) if retry_after else None
    except ValueError:  # a date, which proxies may send
        return None
