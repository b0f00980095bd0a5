"""Lists of a user's conversations: pages, sizes, membership, and the unread count."""

from collections.abc import Sequence
from typing import NamedTuple

from service.domain.scopes import Criteria, Scope
from sql.connection import Connection
from sql.statements import Column, Many, Value


class _UserOfUuid(NamedTuple):
    uuid: str
    id: int


class _Listed(NamedTuple):
    conversation_id: int
    total: int


_PAGE = Many("list_page", _Listed)
_IDS = Column[int]("list_ids")
_LISTED = Column[int]("listed")
_USERS_BY_UUID = Many("users_by_uuid", _UserOfUuid)
_UNREAD_COUNT = Value[int]("unread_count")


async def list_page(
    conn: Connection, user_id: int, scope: Scope, size: int, offset: int
) -> tuple[list[int], int | None]:
    """Conversation ids ``offset`` to ``offset + size`` of an unfiltered list, newest first, and how long the list is.

    None in place of that where the page is empty: then it lies behind the list's end.
    """
    rows = await _PAGE(conn, user_id=user_id, scope=scope, size=size, offset=offset)
    return [row.conversation_id for row in rows], rows[0].total if rows else None


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
