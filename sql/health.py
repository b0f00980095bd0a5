"""Whether the database answers."""

from sql.connection import Connection
from sql.statements import Value

_ANSWERS = Value[bool]("database_answers")


async def database_answers(conn: Connection) -> None:
    """Returns when it does, raises asyncpg's error when it does not."""
    await _ANSWERS(conn)
