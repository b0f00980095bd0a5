"""Lists of a user's conversations: pages, sizes, membership, and the unread count."""

from collections.abc import Sequence
from typing import NamedTuple

from service.domain.scopes import Criteria, Scope
from sql.connection import Connection
from sql.statements import Column, Many, Value


class _UserOfUuid(NamedTuple):
    uuid: str
    id: int


_PAGE = Column[int]("list_page")
_SIZE = Value[int]("list_size")
_IDS = Column[int]("list_ids")
_LISTED = Column[int]("listed")
_USERS_BY_UUID = Many("users_by_uuid", _UserOfUuid)
_UNREAD_COUNT = Value[int]("unread_count")


async def list_page(conn: Connection, user_id: int, scope: Scope, limit: int, offset: int) -> list[int]:
    """Conversation ids ``offset`` to ``offset + limit`` of an unfiltered list, newest first."""
    return await _PAGE(conn, user_id=user_id, scope=scope, limit=limit, offset=offset)


async def list_size(conn: Connection, user_id: int, scope: Scope) -> int:
    """How many conversations an unfiltered list holds."""
    return await _SIZE(conn, user_id=user_id, scope=scope)


async def list_ids(conn: Connection, user_id: int, scope: Scope, wanted: Criteria) -> list[int]:
    """All conversation ids of a list under filters, newest first."""
    return await _IDS(
        conn,
        user_id=user_id,
        scope=scope,
        filter_user_ids=wanted.user_ids,
        filter_codes=wanted.codes,
        needed=wanted.needed,
    )


async def listed(
    conn: Connection, user_id: int, scope: Scope, wanted: Criteria, conversation_ids: Sequence[int]
) -> set[int]:
    """Those of the given conversations that the list holds under filters."""
    found = await _LISTED(
        conn,
        user_id=user_id,
        scope=scope,
        filter_user_ids=wanted.user_ids,
        filter_codes=wanted.codes,
        needed=wanted.needed,
        conversation_ids=conversation_ids,
    )
    return set(found)


async def users_by_uuid(conn: Connection, uuids: Sequence[str]) -> dict[str, int]:
    """User ids of the uuids that are known."""
    return {row.uuid: row.id for row in await _USERS_BY_UUID(conn, uuids=uuids)}


async def unread_count(conn: Connection, user_id: int) -> int:
    """Conversations of the user that are unread and visible."""
    return await _UNREAD_COUNT(conn, user_id=user_id)
