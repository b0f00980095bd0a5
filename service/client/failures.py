"""What went wrong between the client and the service, each in one line for people."""

import os
import ssl
from collections.abc import Iterator
from typing import Any

import aiohttp
import orjson
from yarl import URL

_LONGEST = 300  # characters of a line


class RequestFailed(Exception):
    """The service refused, or could not be reached; the message is one line.

    ``uncertain``: the request may have been carried out all the same. ``not_found``: the service has nothing there for
    this caller.
    """

    def __init__(self, message: str, *, uncertain: bool = False, not_found: bool = False) -> None:
        super().__init__(message)
        self.uncertain = uncertain
        self.not_found = not_found


def refusal_of(status: int, reason: str | None, text: str) -> str:
    """Status and what the service said, whichever shape of error it has (canvas/conventions.md 9)."""
    try:
        said = "; ".join(_sentences(orjson.loads(text)))
    except orjson.JSONDecodeError:
        said = "" if text.lstrip().startswith("<") else text  # a page is for a browser
    line = f"{status} {reason}" if reason else str(status)
    return f"{line}: {one_line(said)}" if said else line


def _sentences(error: Any, about: str = "") -> Iterator[str]:
    match error:
        case {"message": str(message)}:
            attribute = error.get("attribute") or about
            yield f"{attribute}: {message}" if attribute else message
        case {"errors": errors}:
            yield from _sentences(errors, about)
        case dict():
            for name, value in error.items():
                yield from _sentences(value, name)
        case list():
            for each in error:
                yield from _sentences(each, about)
        case str(message) if message:
            yield f"{about}: {message}" if about else message


def unreachable(url: URL, proxy: URL | None, error: Exception) -> str:
    """Why there was no answer, with the variable that may be wrong."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        why = getattr(error.certificate_error, "verify_message", "") or str(error.certificate_error)
        return (
            f"CLARION_URL: the certificate of {url.host} is not trusted: {one_line(why)}"
            " (SSL_CERT_FILE may name a file with the authority's certificate)"
        )
    if isinstance(error, aiohttp.ClientSSLError):
        why = error.os_error.reason if isinstance(error.os_error, ssl.SSLError) else error.os_error
        return f"CLARION_URL: no TLS with {url}: {one_line(str(why))} (does it begin with http://?)"
    if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError) and proxy is not None:
        why = _why(error) if isinstance(error, aiohttp.ClientConnectorError) else error.message
        variable = f"{url.scheme.upper()}_PROXY"
        return f"{variable}: cannot reach {url} by the proxy {proxy.with_user(None)}: {one_line(why)}"
    return f"CLARION_URL: cannot reach {url}: {_why(error)}"


def _why(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, OSError) and cause.errno is not None and cause.errno > 0:  # those of getaddrinfo are below
        return os.strerror(cause.errno)
    return one_line(str(cause)) or ("no answer in time" if isinstance(error, TimeoutError) else type(error).__name__)


def one_line(text: str) -> str:
    """The beginning of the text without line breaks and control characters, which others may have written."""
    words = " ".join(text.split())[:_LONGEST]
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words)
