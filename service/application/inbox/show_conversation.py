"""One conversation with its messages (canvas/endpoints.md 4.4)."""

from typing import Any

from service.application.address_book.reply_lock import replies_locked
from service.application.presentation.conversations import Viewpoint, present
from service.domain.errors import Code, Refusal
from sql import conversations
from sql.connection import Connection
from sql.conversations import Standing
from sql.participants import conversations_within


async def find_conversation(
    conn: Connection, user_id: int, conversation_id: int, *, accounts: frozenset[int] | None = None
) -> Standing:
    """A conversation the user has; Refusal(NOT_FOUND) for any other, deleted ones included.

    ``accounts``: those within whose conversations the caller has to stay, null for all.
    """
    standing = await conversations.find_standing(conn, user_id, conversation_id)
    if standing is None or (accounts is not None and not await conversations_within(conn, [conversation_id], accounts)):
        raise Refusal(Code.NOT_FOUND)
    return standing


async def load_conversation(
    conn: Connection,
    view: Viewpoint,
    standing: Standing,
    *,
    mark_read: bool,
    contexts: bool,
    uuids: bool,
    beta: bool,
) -> dict[str, Any]:
    """One conversation with all its messages; marked as read first, which ``visible`` takes into account."""
    if standing.waiting and mark_read:
        await conversations.mark_read(conn, view.user_id, standing.conversation_id)
    (shown,) = await present(
        conn,
        view,
        [standing.conversation_id],
        messages="all",
        avatars=True,
        contexts=contexts,
        with_context_name=True,
        uuids=uuids,
        forwarded_authors=True,
        beta=beta,
    )
    shown["submissions"] = []
    locked = await replies_locked(
        conn,
        user_id=view.user_id,
        context=standing.context,
        participant_ids=[*shown["audience"], view.user_id],
        explicit_recipients=shown["audience"],
    )
    return {**shown, "cannot_reply": True} if locked else shown
