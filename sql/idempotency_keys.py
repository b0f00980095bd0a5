"""Requests over AMQP by their idempotency keys, and what they were answered with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import orjson

from sql.connection import Connection
from sql.statements import Command, One, Value


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """Status and headers as HTTP has them; ``body`` is JSON."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request that was carried out or refused for good; ``fingerprint`` identifies what was asked."""

    fingerprint: bytes
    answer: KeptAnswer


class RequestRow(NamedTuple):
    """A request and its answer; ``headers``: a JSON object."""

    fingerprint: bytes
    status: int
    headers: str
    body: bytes


_CLAIM = Value[bool | None]("claim_request")
_FIND = One("find_request", RequestRow)
_KEEP = Command("keep_answer")
_FORGET = Value[int]("forget_requests")


async def claim_request(conn: Connection, user_id: int, key: str, fingerprint: bytes) -> bool:
    """Claims the key for this transaction; False when another has claimed it before. Waits for one in work."""
    return await _CLAIM(conn, user_id=user_id, key=key, fingerprint=fingerprint) is not None


async def find_request(conn: Connection, user_id: int, key: str) -> KeptRequest | None:
    """What is kept under a key; None when there is nothing, or nothing any more."""
    row = await _FIND(conn, user_id=user_id, key=key)
    if row is None:
        return None
    return KeptRequest(row.fingerprint, KeptAnswer(row.status, orjson.loads(row.headers), row.body))


async def keep_answer(conn: Connection, user_id: int, key: str, answer: KeptAnswer) -> None:
    """Stores the answer of a request that this transaction has claimed."""
    headers = orjson.dumps(dict(answer.headers)).decode()
    await _KEEP(conn, user_id=user_id, key=key, status=answer.status, headers=headers, body=answer.body)


async def forget_requests(conn: Connection, *, older_than: timedelta, limit: int) -> int:
    """Deletes old keys; returns how many."""
    return await _FORGET(conn, older_than=older_than, limit=limit)
