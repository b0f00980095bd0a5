"""Messages as text, to the byte, for the golden files.

To change them on purpose: ``CLARION_GOLDEN=write`` in the environment writes what there is now, and each test that
wrote something fails, so that it is not done unawares. Look at the difference, then run the tests without it.
"""

import difflib
import os
from pathlib import Path

import orjson
import pytest
from aio_pika.abc import AbstractIncomingMessage

GOLDEN = Path(__file__).parents[1] / "contracts" / "golden"
WRITE = "CLARION_GOLDEN"
_SHOWN = 100  # lines of a difference

_PROPERTIES = (
    "content_type",
    "content_encoding",
    "delivery_mode",
    "priority",
    "correlation_id",
    "reply_to",
    "expiration",
    "message_id",
    "timestamp",
    "type",
    "user_id",
    "app_id",
)


def text_of(message: AbstractIncomingMessage, *, prefix: str) -> bytes:
    """Routing key, properties and headers a line each, an empty line, the body; the test's prefix as ``clarion``."""
    fields: dict[str, object] = {"routing_key": message.routing_key}
    fields |= {name: value for name in _PROPERTIES if (value := getattr(message, name))}
    fields |= {f"header {name}": value for name, value in sorted(message.headers.items())}
    lines = [f"{name}: ".encode() + orjson.dumps(value, default=str) for name, value in fields.items()]
    return b"\n".join([*lines, b"", message.body, b""]).replace(prefix.encode(), b"clarion")


def assert_golden(name: str, found: bytes) -> None:
    """The file of that name in the directory of golden files holds exactly this."""
    path = GOLDEN / name
    if os.environ.get(WRITE) == "write" and (not path.exists() or path.read_bytes() != found):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(found)
        pytest.fail(f"{path} was written, as {WRITE}=write says: look at the difference and run the test without it")
    assert path.exists(), f"no golden file {path}; {WRITE}=write makes it"
    if found != path.read_bytes():
        pytest.fail(f"{path} differs; if that is meant, {WRITE}=write changes it\n{difference(path, found)}")


def difference(path: Path, found: bytes) -> str:
    """Where the file and what was found part, line by line; of many lines the first."""
    there, here = (text.decode("utf-8", "backslashreplace").splitlines() for text in (path.read_bytes(), found))
    lines = list(difflib.unified_diff(there, here, path.name, "found", lineterm="", n=2))
    more = [f"… and {len(lines) - _SHOWN} more lines"] if len(lines) > _SHOWN else []
    return "\n".join([*lines[:_SHOWN], *more])


def body_in(name: str) -> bytes:
    """The body of a message in a golden file."""
    _, _, body = (GOLDEN / name).read_bytes().partition(b"\n\n")
    return body.removesuffix(b"\n")
