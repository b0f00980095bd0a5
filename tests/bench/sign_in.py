"""What a JWT costs the gateway: ``python -m tests.bench.sign_in`` prints one JSON object.

For each algorithm the milliseconds, median and p99, that verifying takes the first time (1,000 tokens, each of another
user) and later, beside what reading an access token takes, which is one hash. No server is used; the key is there.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from statistics import median
from time import perf_counter
from typing import Any

import structlog

from service.domain.jwt import Bearer, Expected, UserKey
from service.domain.tokens import hash_token, new_token
from service.runtime.jwt.keys import ALGORITHMS, Keys
from service.runtime.jwt.verifier import Verifier
from tests.bench.pace import percentile
from tests.support.issuer import AUDIENCE, ISSUER, SigningKey, key_set

_EXPECTED = Expected(ISSUER, AUDIENCE, "sub", UserKey.UUID, shard_id=1)
# What identity providers put into a token besides: about as long as it usually is.
_USUAL: dict[str, Any] = {
    "name": "Test User",
    "groups": [f"/institution/unit-{number}" for number in range(20)],
    "scope": "openid",
}


class _Published:
    """A source that has one key."""

    interval = 3600.0
    retry = (1.0, 1.0)

    def __init__(self, key: SigningKey) -> None:
        self._document = key_set([key]).encode()

    async def read(self) -> bytes:
        return self._document


async def measure(tokens: int) -> dict[str, object]:
    """Figures by algorithm, in milliseconds."""
    opaque = [await _timed(_hashed, new_token()) for _ in range(tokens)]
    return {
        "tokens": tokens,
        "access_token_ms": _figures(opaque),
        **{algorithm: await _of(algorithm, tokens) for algorithm in ALGORITHMS},
    }


async def _of(algorithm: str, count: int) -> dict[str, object]:
    key = SigningKey("bench", algorithm)
    keys = Keys(_Published(key))
    await keys.look()
    verifier = Verifier(keys, _EXPECTED)
    tokens = [key.token(f"user-{number}", **_USUAL) for number in range(count)]
    first = [await _timed(verifier.verify, token) for token in tokens]
    later = [await _timed(verifier.verify, token) for token in tokens]
    return {"characters": len(tokens[0]), "first_ms": _figures(first), "later_ms": _figures(later)}


async def _hashed(token: str) -> bytes:
    return hash_token(token)


async def _timed(work: Callable[[str], Awaitable[Bearer | bytes]], token: str) -> float:
    start = perf_counter()
    await work(token)
    return (perf_counter() - start) * 1000


def _figures(milliseconds: Sequence[float]) -> dict[str, float]:
    return {"median": round(median(milliseconds), 4), "p99": round(percentile(milliseconds, 0.99), 4)}


if __name__ == "__main__":
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sign_in", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few tokens, to see that everything works")
    report = asyncio.run(measure(10 if parser.parse_args().quick else 1000))
    sys.stdout.write(json.dumps(report, indent=2) + "\n")
