"""One conversation with its messages (canvas/endpoints.md 4.4)."""

from service.application.address_book.reply_lock import replies_locked
from service.application.presentation.conversations import present
from service.application.presentation.profiles import Profile
from service.application.presentation.shapes import Conversation
from service.application.presentation.viewpoint import Viewpoint
from service.domain.errors import Code, Refusal
from sql import conversations
from sql.connection import Connection
from sql.conversations import OwnConversation
from sql.participants import conversations_within


async def find_conversation(
    conn: Connection, user_id: int, conversation_id: int, *, accounts: frozenset[int] | None = None
) -> OwnConversation:
    """A conversation the user has; Refusal(NOT_FOUND) for any other, deleted ones included.

    ``accounts``: those within whose conversations the caller has to stay, null for all.
    """
    own = await conversations.find_own_conversation(conn, user_id, conversation_id)
    if own is None or (accounts is not None and not await conversations_within(conn, [conversation_id], accounts)):
        raise Refusal(Code.NOT_FOUND)
    return own


async def load_conversation(
    conn: Connection,
    view: Viewpoint,
    own: OwnConversation,
    profile: Profile,
    *,
    uuids: bool,
    beta: bool,
) -> Conversation:
    """One conversation with all its messages. Whether it is read is what ``visible`` says, so mark it before."""
    (shown,) = await present(conn, view, [own.conversation_id], profile, uuids=uuids, beta=beta)
    shown["submissions"] = []
    locked = await replies_locked(
        conn,
        user_id=view.user_id,
        context=own.context,
        participant_ids=[*shown["audience"], view.user_id],
        explicit_recipients=shown["audience"],
    )
    if locked:
        shown["cannot_reply"] = True
    return shown
