"""Requests of neighbours by their keys, and what they were answered with."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import orjson

from sql.connection import Connection
from sql.statements import text_of

_CLAIM = text_of("claim_request")
_FIND = text_of("find_request")
_KEEP = text_of("keep_answer")
_FORGET = text_of("forget_requests")


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """Status and headers as HTTP has them; ``body`` is JSON."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request that was carried out or refused for good; ``fingerprint`` tells what was asked."""

    fingerprint: bytes
    answer: KeptAnswer


async def claim_request(conn: Connection, user_id: int, key: str, fingerprint: bytes) -> bool:
    """Makes the key this transaction's; False when another one has had it. Waits for one that has it now."""
    return await conn.fetchval(_CLAIM, user_id, key, fingerprint) is not None


async def find_request(conn: Connection, user_id: int, key: str) -> KeptRequest | None:
    """What is kept under a key; None when there is nothing, or nothing any more."""
    row = await conn.fetchrow(_FIND, user_id, key)
    if row is None:
        return None
    return KeptRequest(row["fingerprint"], KeptAnswer(row["status"], orjson.loads(row["headers"]), row["body"]))


async def keep_answer(conn: Connection, user_id: int, key: str, answer: KeptAnswer) -> None:
    """Stores the answer of a request that this transaction has claimed."""
    headers = orjson.dumps(dict(answer.headers)).decode()
    await conn.execute(_KEEP, user_id, key, answer.status, headers, answer.body)


async def forget_requests(conn: Connection, *, older_than: timedelta, limit: int) -> int:
    """Deletes old keys; returns how many."""
    forgotten: int = await conn.fetchval(_FORGET, older_than, limit)
    return forgotten
