"""Requests for tests of what becomes of them."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

from sql.connection import Connection
from tests.support.school import School
from workers.amqp_requests import RequestConsumer

Requesting = Callable[..., AbstractAsyncContextManager[list[RequestConsumer]]]


def request(school: School, key: str = "first", **more: Any) -> dict[str, Any]:
    """A message of the teacher to the first student, unless said otherwise."""
    recipients = [str(school.students[0])]
    return {"as_user_id": school.teacher, "idempotency_key": key, "recipients": recipients, "body": "Hello", **more}


async def count(conn: Connection, table: str) -> int:
    found: int = await conn.fetchval(f"SELECT count(*) FROM {table}")
    return found


async def written(conn: Connection, how_many: int) -> bool:
    """Whether so many messages have been written."""
    return await count(conn, "sends") == how_many
