"""Dead letters: the queue they came from, the reason, the first and last time, and how often.

A message becomes a dead letter in one of two ways. Clarion publishes it with the headers below. Or the broker
dead-letters it, after too many deliveries or a rejection without a reason, with its own header ``x-death``.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

REASON_LIMIT = 2000  # characters of a dead letter's reason: a header has to fit one frame

REASON, SOURCE, KEY = "reason", "source", "routing_key"
FIRST_TIME, LAST_TIME, ATTEMPTS = "first_time", "last_time", "attempts"

# Headers in which the broker keeps a message's history, and those by which it would send copies elsewhere.
_BROKERS = frozenset({"x-death", "x-delivery-count", "x-acquired-count", "CC", "BCC"})
_BROKERS_PREFIXES = ("x-first-death-", "x-last-death-")
# Replaced each time; the first time and the attempts stay.
_OF_THIS_TIME = frozenset({REASON, SOURCE, KEY, LAST_TIME})

_BROKERS_REASONS = {
    "delivery_limit": "handed out too often: its workers ended without a verdict",
    "rejected": "given up; its reason could not be published",
    "expired": "expired",
    "maxlen": "its queue was full",
}

Headers = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter without its body.

    ``id``: the same whenever it is read, and another one when it is dead-lettered again. ``source``: the queue it came
    from, with the routing key under which it came; None where it is unknown. Times are None where they are unknown.
    """

    id: str
    source: str | None
    routing_key: str
    reason: str
    first_time: datetime | None
    last_time: datetime | None
    attempts: int


def dead_letter_headers(
    original: Headers, *, reason: str, source: str, routing_key: str, now: datetime
) -> dict[str, Any]:
    """Headers of a message that becomes a dead letter now: its own, and why. A requeued one keeps its first time."""
    recorded = _recorded(original)
    return _own(original) | {
        REASON: _header(reason),
        SOURCE: source,
        KEY: routing_key,
        FIRST_TIME: (recorded.first_time or now).isoformat(),
        LAST_TIME: now.isoformat(),
        ATTEMPTS: recorded.attempts + 1,
    }


def requeued_headers(letter: DeadLetter, headers: Headers) -> dict[str, Any]:
    """Headers of a dead letter that is requeued: its own, with the first time and the attempts so far."""
    kept = {name: value for name, value in _own(headers).items() if name not in _OF_THIS_TIME}
    if letter.first_time is not None:
        kept[FIRST_TIME] = letter.first_time.isoformat()
    return kept | {ATTEMPTS: letter.attempts}


def read_dead_letter(body: bytes, headers: Headers, *, message_id: str | None) -> DeadLetter:
    """What is known of a dead letter, published by Clarion or dead-lettered by the broker."""
    recorded = _recorded(headers)
    death = _broker_death(headers)
    if death is None:
        source, key = _text(headers.get(SOURCE)), _text(headers.get(KEY)) or ""
        reason = _text(headers.get(REASON)) or "no reason given"
        first, last, attempts = recorded.first_time, recorded.last_time, max(recorded.attempts, 1)
    else:
        source, key = _text(death.get("queue")), _text(next(iter(death.get("routing-keys") or ()), None)) or ""
        cause = _text(death.get("reason")) or "unknown"
        reason = f"{_BROKERS_REASONS.get(cause, 'put away')} (broker: {cause})"
        last = _moment(death.get("time"))
        first = recorded.first_time or last
        attempts = recorded.attempts + _count(death.get("count"), at_least=1)
    digest = hashlib.sha256(b"\0".join([body, *(str(part).encode() for part in (source, last, attempts, message_id))]))
    return DeadLetter(digest.hexdigest()[:16], source, key, reason, first, last, attempts)


@dataclass(frozen=True, slots=True)
class _Recorded:
    first_time: datetime | None
    last_time: datetime | None
    attempts: int


def _recorded(headers: Headers) -> _Recorded:
    """What Clarion's headers say. Any client may have written them, so nothing is taken for granted."""
    return _Recorded(_moment(headers.get(FIRST_TIME)), _moment(headers.get(LAST_TIME)), _count(headers.get(ATTEMPTS)))


def _broker_death(headers: Headers) -> Mapping[str, Any] | None:
    """The last entry of x-death, if the broker dead-lettered the message; Clarion's dead letters have none."""
    deaths = headers.get("x-death")
    if isinstance(deaths, list) and deaths and isinstance(deaths[0], dict):
        return deaths[0]
    return None


def _own(headers: Headers) -> dict[str, Any]:
    return {
        name: value
        for name, value in headers.items()
        if name not in _BROKERS and not name.startswith(_BROKERS_PREFIXES)
    }


def _text(value: object) -> str | None:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return None if value is None else str(value)


def _moment(value: object) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def _count(value: object, *, at_least: int = 0) -> int:
    return value if isinstance(value, int) and at_least <= value < 2**31 else at_least


def _header(text: str) -> str:
    return text[:REASON_LIMIT].encode("utf-8", "replace").decode("utf-8")
