"""Lists of a user's conversations: pages, sizes, membership, and the unread count."""

from collections.abc import Sequence

from service.domain.scopes import Criteria, Scope
from sql.connection import Connection
from sql.statements import text_of

_PAGE = text_of("list_page")
_SIZE = text_of("list_size")
_IDS = text_of("list_ids")
_LISTED = text_of("listed")
_USERS_BY_UUID = text_of("users_by_uuid")
_UNREAD_COUNT = text_of("unread_count")


async def list_page(conn: Connection, user_id: int, scope: Scope, limit: int, offset: int) -> list[int]:
    """Conversation ids ``offset`` to ``offset + limit`` of an unfiltered list, newest first."""
    rows = await conn.fetch(_PAGE, user_id, scope, limit, offset)
    return [row["conversation_id"] for row in rows]


async def list_size(conn: Connection, user_id: int, scope: Scope) -> int:
    """How many conversations an unfiltered list holds."""
    return int(await conn.fetchval(_SIZE, user_id, scope))


async def list_ids(conn: Connection, user_id: int, scope: Scope, wanted: Criteria) -> list[int]:
    """All conversation ids of a list under filters, newest first."""
    rows = await conn.fetch(_IDS, user_id, scope, wanted.user_ids, wanted.codes, wanted.needed)
    return [row["conversation_id"] for row in rows]


async def listed(
    conn: Connection, user_id: int, scope: Scope, wanted: Criteria, conversation_ids: Sequence[int]
) -> set[int]:
    """Those of the given conversations that the list holds under filters."""
    rows = await conn.fetch(_LISTED, user_id, scope, wanted.user_ids, wanted.codes, wanted.needed, conversation_ids)
    return {row["conversation_id"] for row in rows}


async def users_by_uuid(conn: Connection, uuids: Sequence[str]) -> dict[str, int]:
    """User ids of the uuids that are known."""
    return {row["uuid"]: row["id"] for row in await conn.fetch(_USERS_BY_UUID, uuids)}


async def unread_count(conn: Connection, user_id: int) -> int:
    """Conversations of the user that are unread and visible."""
    return int(await conn.fetchval(_UNREAD_COUNT, user_id))
