"""Does the database answer?"""

from sql.connection import Connection
from sql.statements import text_of

_ANSWERS = text_of("database_answers")


async def database_answers(conn: Connection) -> None:
    """Returns when it does, raises asyncpg's error when it does not."""
    await conn.fetchval(_ANSWERS)
