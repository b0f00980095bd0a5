"""Requests by the keys under which they may be repeated, and what they were answered with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import orjson

from sql.connection import Connection
from sql.statements import Command, One, Value


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """Status and body as HTTP has them, and the headers beside those that every answer in JSON has."""

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


async def claim_request(
    conn: Connection, user_id: int, key: str, fingerprint: bytes, *, kept_for: timedelta, waits: bool
) -> bool:
    """Claims the key for this transaction; False when another request has it.

    ``waits``: until the other one ends, if it is in work. ``kept_for``: what is older is overwritten.
    """
    claimed = await _CLAIM(conn, user_id=user_id, key=key, fingerprint=fingerprint, kept_for=kept_for, waits=waits)
    return claimed is not None


async def find_request(conn: Connection, user_id: int, key: str, *, kept_for: timedelta) -> KeptRequest | None:
    """What is kept under a key; None when there is nothing, nothing yet, or nothing any more."""
    row = await _FIND(conn, user_id=user_id, key=key, kept_for=kept_for)
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
