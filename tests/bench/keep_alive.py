"""Clients that ask one thing after the other on connections they keep, at the least cost to themselves."""

import asyncio
from collections.abc import Sequence
from functools import partial
from time import perf_counter
from typing import cast

import uvloop

_LENGTH = b"content-length:"


class _Connection(asyncio.Protocol):
    """Sends the request again as soon as it is answered with 200, until ``until``."""

    def __init__(self, request: bytes, until: float) -> None:
        self._request = request
        self._until = until
        self._answer = b""
        self._sent_at = 0.0
        self.seconds: list[float] = []
        self.ended = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._ask()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, end, body = self._answer.partition(b"\r\n\r\n")
        if not end or len(body) < _length(head):
            return
        now = perf_counter()
        if not head.startswith(b"HTTP/1.1 200 "):
            self._end(AssertionError(self._answer.decode()))
            return
        self.seconds.append(now - self._sent_at)
        if now < self._until:
            self._ask()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc or ConnectionError("the connection was closed"))

    def _ask(self) -> None:
        self._answer = b""
        self._sent_at = perf_counter()
        self._transport.write(self._request)

    def _end(self, error: Exception | None) -> None:
        if not self.ended.done():
            self._transport.close()
            if error is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(error)


def _length(head: bytes) -> int:
    lines = head.lower().split(b"\r\n")
    return next(int(line.removeprefix(_LENGTH)) for line in lines if line.startswith(_LENGTH))


def request(path: str, token: str = "") -> bytes:
    """A GET as it goes over the connection."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n\r\n".encode()


def ask(port: int, requests: Sequence[bytes], seconds: float) -> Sequence[float]:
    """Seconds of each answer on so many loopback connections, each with its own request, for so long.

    For a process of its own; an answer that is not 200 is an AssertionError.
    """
    return uvloop.run(_ask(port, requests, seconds))


async def _ask(port: int, requests: Sequence[bytes], seconds: float) -> Sequence[float]:
    until = perf_counter() + seconds
    loop = asyncio.get_running_loop()
    opened = [await loop.create_connection(partial(_Connection, sent, until), "127.0.0.1", port) for sent in requests]
    await asyncio.gather(*(connection.ended for _, connection in opened))
    return [taken for _, connection in opened for taken in connection.seconds]
