"""Which conversations a caller may touch: their own, and acting as another not all of those (semantics.md 13)."""

from aiohttp import web

from service.api.authentication import caller
from service.application.address_book.masquerade import accounts_in_reach
from service.application.inbox.show_conversation import find_conversation
from sql.connection import Connection
from sql.conversations import OwnConversation


async def caller_accounts(request: web.Request, conn: Connection) -> frozenset[int] | None:
    """The accounts whose conversations the caller gets to see; None: all of them."""
    return await accounts_in_reach(conn, caller(request).actor)


async def own_conversation(request: web.Request, conn: Connection, conversation_id: int) -> OwnConversation:
    """A conversation that the caller has; Refusal(NOT_FOUND) for any other (canvas/endpoints.md 2 step 3)."""
    accounts = await caller_accounts(request, conn)
    return await find_conversation(conn, caller(request).user_id, conversation_id, accounts=accounts)
