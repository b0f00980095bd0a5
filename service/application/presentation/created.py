"""What a new message is answered with (canvas/endpoints.md 4.2), whichever way it came."""

from service.application.messages.create import Accepted, Created
from service.application.presentation.answer import Answer
from service.application.presentation.conversations import present
from service.application.presentation.profiles import CREATED_MANY, CREATED_ONE
from service.application.presentation.shapes import Conversation
from service.application.presentation.viewpoint import Viewpoint
from sql.connection import Connection
from sql.participants import conversations_within


async def answer_created(
    conn: Connection, view: Viewpoint, outcome: Accepted | Created, *, uuids: bool
) -> Answer[list[Conversation]]:
    """202 with the batch's id for an asynchronous bulk send, else 201 with the conversations.

    A thread that is not within the accounts of the view is left out: who acts as its user gets to see nothing of it
    (semantics.md 13).
    """
    if isinstance(outcome, Accepted):
        return Answer(202, [], {"X-Conversation-Batch-Id": str(outcome.batch_id)})
    written = outcome.conversation_ids
    if view.accounts is not None:
        within = await conversations_within(conn, written, view.accounts)
        written = [id_ for id_ in written if id_ in within]
    if outcome.single is None:
        shown = await present(conn, view, written, CREATED_MANY, uuids=uuids)
    else:
        (conversation_id,) = outcome.conversation_ids
        single = {conversation_id: outcome.single}
        shown = await present(conn, view, written, CREATED_ONE, uuids=uuids, single_messages=single)
    return Answer(201, shown)
