"""The few requests the command line makes, over HTTP like any client's."""

from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any, Self

import aiohttp
import orjson
import stamina
from yarl import URL


class RequestFailed(Exception):
    """The service refused, or could not be reached; the message is one line."""


class _Unavailable(Exception):
    """An answer that may be different in a moment."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What POST /conversations answered: conversations, or the batch that is going to make them."""

    conversation_ids: tuple[int, ...]
    batch_id: int | None


@dataclass(frozen=True, slots=True)
class Progress:
    """The object of GET /conversations/batches/:id (CONTRACT 3.1), as far as a progress bar needs it."""

    id: int
    state: str
    total: int
    delivered: int
    failed: int
    skipped: int
    rate: float  # recipients per second

    @property
    def done(self) -> int:
        """Recipients that need no more work."""
        return self.delivered + self.failed + self.skipped

    @property
    def ended(self) -> bool:
        """Whether the batch will not move any more."""
        return self.state in {"sent", "error", "cancelled"}


@dataclass(frozen=True, slots=True)
class NewMessage:
    """What to send and how (canvas/endpoints.md 4.2)."""

    recipients: Sequence[str]
    body: str
    subject: str | None = None
    context_code: str | None = None
    group: bool = False
    bulk: bool = False
    force_new: bool = False
    asynchronous: bool = False

    def parameters(self) -> dict[str, Any]:
        """The JSON body of POST /conversations."""
        parameters: dict[str, Any] = {
            "recipients": list(self.recipients),
            "body": self.body,
            "group_conversation": self.group,
            "bulk_message": self.bulk,
            "force_new": self.force_new,
            "mode": "async" if self.asynchronous else "sync",
        }
        optional = {"subject": self.subject, "context_code": self.context_code}
        return parameters | {key: value for key, value in optional.items() if value is not None}


class Client:
    """One caller of one service; an async context manager. RequestFailed where the address or the token can be none."""

    def __init__(self, url: str, token: str) -> None:
        self._url = _service(url)
        if not (token.isascii() and token.isprintable()):
            raise RequestFailed("CLARION_TOKEN: this is no token: it has other characters than one can have")
        self._session = aiohttp.ClientSession(
            self._url.rstrip("/") + "/",
            headers={"Authorization": f"Bearer {token}"},
            timeout=aiohttp.ClientTimeout(total=300, sock_connect=10),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._session.close()

    async def send(self, message: NewMessage) -> Sent:
        """POST /conversations. Not repeated on failure: it is unknown then whether it was accepted."""
        try:
            async with self._session.post("api/v1/conversations", json=message.parameters()) as response:
                body = await _body(response)
                batch_id = response.headers.get("X-Conversation-Batch-Id")
        except (aiohttp.ClientError, TimeoutError, _Unavailable) as error:
            raise RequestFailed(self._reason(error)) from None
        return Sent(tuple(int(c["id"]) for c in body), int(batch_id) if batch_id else None)

    async def progress(self, batch_id: int) -> Progress:
        """GET /conversations/batches/:id; repeated for a while when the service is away."""
        attempts = stamina.retry_context(
            on=(aiohttp.ClientConnectionError, TimeoutError, _Unavailable), attempts=None, timeout=30
        )
        try:
            async for attempt in attempts:
                with attempt:
                    async with self._session.get(f"api/v1/conversations/batches/{batch_id}") as response:
                        body = await _body(response)
        except (aiohttp.ClientError, TimeoutError, _Unavailable) as error:
            raise RequestFailed(self._reason(error)) from None
        return Progress(
            id=int(body["id"]),
            state=body["workflow_state"],
            total=body["total"],
            delivered=body["delivered"],
            failed=body["failed"],
            skipped=body["skipped"],
            rate=body["recipients_per_second"] or 0.0,
        )

    def _reason(self, error: Exception) -> str:
        if isinstance(error, _Unavailable):
            return str(error)
        cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
        why = _one_line(str(cause)) or (
            "no answer in time" if isinstance(error, TimeoutError) else type(error).__name__
        )
        return f"CLARION_URL: cannot reach {self._url}: {why}"


def _service(url: str) -> str:
    try:
        known = URL(url)
    except ValueError:
        known = URL()
    if known.scheme not in {"http", "https"} or not known.host:
        raise RequestFailed(f"CLARION_URL: {url!r} is no address of a service, such as http://127.0.0.1:8080")
    return url


async def _body(response: aiohttp.ClientResponse) -> Any:
    text = await response.text()
    if response.status == HTTPStatus.TOO_MANY_REQUESTS or response.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise _Unavailable(f"{response.status} {response.reason}: {_one_line(text)}")
    if response.status >= HTTPStatus.BAD_REQUEST:
        raise RequestFailed(f"{response.status} {response.reason}: {_one_line(text)}")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        raise RequestFailed(f"{response.status} and no JSON: {_one_line(text)}") from None


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]
