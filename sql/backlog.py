"""What was accepted and is not done, by kind."""

from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Many

KINDS = ("recipients", "scheduled", "replies", "updates", "events", "audits")


class Waiting(NamedTuple):
    """So much of one of KINDS waits, the first of it for so many seconds."""

    kind: str
    size: int
    age: float


_COUNT = Many("count_backlog", Waiting)


async def count_backlog(conn: Connection) -> list[Waiting]:
    """Each of KINDS; a size and an age of 0 where nothing waits."""
    return await _COUNT(conn)
