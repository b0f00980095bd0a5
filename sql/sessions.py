"""A connection's own settings."""

from collections.abc import Mapping

from sql.connection import Connection
from sql.statements import Column, Command

_BEGIN = Column[str]("begin_session")
_LEARN = Command("learn_types")


async def begin_session(conn: Connection, settings: Mapping[str, str]) -> bool:
    """Sets them for as long as the connection lives; False, and none is set, where a pooler is in between."""
    known_pid = conn.get_server_pid()
    return bool(await _BEGIN(conn, names=list(settings), values=list(settings.values()), known_pid=known_pid))


async def learn_types(conn: Connection) -> None:
    """Has the connection know the types of all statements from here on."""
    await _LEARN(conn, bigints=None, integers=None, smallints=None, booleans=None, bytes=None, times=None)
