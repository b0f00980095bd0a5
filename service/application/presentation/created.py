"""What a new message is answered with (canvas/endpoints.md 4.2), whichever way it came."""

from service.application.messages.create import Accepted, Created
from service.application.presentation.answer import Answer
from service.application.presentation.conversations import present
from service.application.presentation.viewpoint import Viewpoint
from sql.connection import Connection


async def answer_created(conn: Connection, view: Viewpoint, outcome: Accepted | Created, *, uuids: bool) -> Answer:
    """202 with the batch's id for an asynchronous bulk send, else 201 with the conversations."""
    if isinstance(outcome, Accepted):
        return Answer(202, [], {"X-Conversation-Batch-Id": str(outcome.batch_id)})
    single = outcome.single
    shown = await present(
        conn,
        view,
        outcome.conversation_ids,
        messages="none" if single is None else {single[0]: single[1]},
        avatars=single is not None,
        contexts=single is not None,
        with_context_name=False,
        uuids=uuids,
        forwarded_authors=single is not None,
    )
    return Answer(201, shown)
