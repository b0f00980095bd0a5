"""Where the issuer's keys are published: an address, or a file that another program keeps."""

import asyncio
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

import aiohttp

MAX_BYTES = 1_048_576  # of a key set; those of identity providers have some ten thousand
FETCH = aiohttp.ClientTimeout(total=5.0, sock_connect=3.0)  # seconds
_REFRESH, _RETRY = 300.0, (1.0, 10.0)
_LOOK_AGAIN = 1.0
# Unpacking could make much of little.
_HEADERS = {"Accept": "application/jwk-set+json, application/json", "Accept-Encoding": "identity"}


class SourceError(Exception):
    """A key set cannot be had; the message says why, in one line."""


class Source(Protocol):
    """Where a key set is read.

    ``interval``: seconds between two reads; ``retry``: seconds until it is tried again, first and at most.
    """

    @property
    def interval(self) -> float: ...

    @property
    def retry(self) -> tuple[float, float]: ...

    async def read(self) -> bytes:
        """The key set as it is now, MAX_BYTES at most; SourceError."""


class Address:
    """A URL, asked by HTTP, or HTTPS with the certificates that the machine trusts. Redirections are not followed."""

    interval = _REFRESH
    retry = _RETRY

    def __init__(self, url: str) -> None:
        self._url = url

    async def read(self) -> bytes:
        """What the URL answers with 200; SourceError within seconds otherwise."""
        try:
            async with (
                aiohttp.ClientSession(timeout=FETCH, auto_decompress=False) as session,
                session.get(self._url, headers=_HEADERS, allow_redirects=False) as answer,
            ):
                if answer.status != HTTPStatus.OK:
                    raise SourceError(f"it answers {answer.status}")
                content = bytearray()
                async for chunk in answer.content.iter_any():
                    content += chunk
                    if len(content) > MAX_BYTES:
                        raise SourceError(f"it is more than {MAX_BYTES} bytes long")
                return bytes(content)
        except TimeoutError:
            raise SourceError("no answer in time") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise SourceError(" ".join(str(error).split()) or type(error).__name__) from None


class File:
    """A file, read again and again: it may be replaced at any time."""

    interval = _LOOK_AGAIN
    retry = (_LOOK_AGAIN, _LOOK_AGAIN)

    def __init__(self, path: Path) -> None:
        self._path = path

    async def read(self) -> bytes:
        """What the file has; SourceError when it cannot be read."""
        return await asyncio.to_thread(self._read)

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise SourceError(f"cannot be read: {error.strerror}") from None
        if len(content) > MAX_BYTES:
            raise SourceError(f"it is more than {MAX_BYTES} bytes long")
        return content


def source_of(jwks: str) -> Source:
    """The source that CLARION_JWT_JWKS names."""
    return Address(jwks) if "://" in jwks else File(Path(jwks))
