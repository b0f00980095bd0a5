"""POST /conversations: parse, validate, then write it now or accept it for the workers."""

from aiohttp import web

from service.api.announcing import announce
from service.api.authentication import caller
from service.api.database import connection
from service.api.drafts import DraftParameters, draft_of
from service.api.fields import CanvasBool, ScalarString, parse
from service.api.keys import CREATOR
from service.api.parameters import read_parameters
from service.api.responses import respond
from service.api.transactions import committed
from service.api.viewpoints import includes, viewpoint
from service.application.creating import Accepted, CreateConversation
from service.application.presenting import present
from service.contracts.commands import PlanBatch
from service.runtime.metrics import BATCHES_ACCEPTED


class CreateParameters(DraftParameters):
    """canvas/endpoints.md 4.2"""

    subject: ScalarString = None
    group_conversation: CanvasBool = False
    bulk_message: CanvasBool = False
    force_new: CanvasBool = False
    mode: ScalarString = None
    display_from: ScalarString = None


def _command(author_id: int, sent: CreateParameters) -> CreateConversation:
    return CreateConversation(
        **draft_of(author_id, sent),
        recipients=sent.recipients,
        subject=sent.subject,
        group_conversation=sent.group_conversation,
        bulk_message=sent.bulk_message,
        force_new=sent.force_new,
        asynchronous=sent.mode == "async",
        display_from=sent.display_from or None,
    )


async def create_conversation(request: web.Request) -> web.Response:
    """202 with the batch's id for an asynchronous bulk send, else 201 with the conversations."""
    parameters = await read_parameters(request)
    sent = parse(CreateParameters, parameters)
    view = viewpoint(request, sent)
    command = _command(caller(request).user_id, sent)
    creator = request.app[CREATOR]
    async with connection(request) as conn:
        plan = await creator.validate(conn, command)
        outcome = await committed(conn, lambda: creator.create(conn, command, plan))
        if isinstance(outcome, Accepted):
            BATCHES_ACCEPTED.inc()
            announce(request, PlanBatch(batch_id=outcome.batch_id))
            return respond(request, [], 202, {"X-Conversation-Batch-Id": str(outcome.batch_id)})
        single = outcome.single
        shown = await present(
            conn,
            view,
            outcome.conversation_ids,
            messages="none" if single is None else {single[0]: single[1]},
            avatars=single is not None,
            contexts=single is not None,
            with_context_name=False,
            uuids="uuid" in includes(request, sent, parameters),
            forwarded_authors=single is not None,
        )
    return respond(request, shown, 201)


routes = [web.post("/api/v1/conversations", create_conversation)]
