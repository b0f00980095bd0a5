"""POST /conversations: parse, validate, then write it now or accept it for the workers."""

from aiohttp import web
from pydantic import Field

from service.api.announcing import announce
from service.api.authentication import caller
from service.api.database import connection
from service.api.description import Outcome, describe
from service.api.drafts import DraftParameters, draft_of
from service.api.fields import CanvasBool, ScalarString, parse
from service.api.keys import CREATOR
from service.api.parameters import read_parameters
from service.api.responses import respond
from service.api.shapes import Conversation
from service.api.transactions import committed
from service.api.viewpoints import includes, viewpoint
from service.application.creating import Accepted, CreateConversation
from service.application.presenting import present
from service.contracts.commands import PlanBatch
from service.domain.errors import Code
from service.runtime.metrics import BATCHES_ACCEPTED


class CreateParameters(DraftParameters):
    """canvas/endpoints.md 4.2"""

    subject: ScalarString = Field(None, description="Up to 255 characters; a thread that is reused keeps its own.")
    group_conversation: CanvasBool = Field(False, description="One conversation of all, where everybody sees replies.")
    bulk_message: CanvasBool = Field(
        False, description="With group_conversation: one new conversation with each recipient, however many they are."
    )
    force_new: CanvasBool = Field(False, description="A new conversation with each recipient, never the thread before.")
    mode: ScalarString = Field(
        None,
        description="`async`: a bulk message is accepted, and delivered after the answer.",
        json_schema_extra={"enum": ["sync", "async"]},
    )
    display_from: ScalarString = Field(None, description="Only for service tokens of the site.")


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


@describe(
    "Send a message",
    {
        201: Outcome("The conversations it went to.", list[Conversation]),
        202: Outcome(
            "Accepted for delivery; an empty array.", list[Conversation], headers=("X-Conversation-Batch-Id",)
        ),
    },
    text="Into the thread with the one recipient, into one new conversation with all of them, or into one with each.",
    parameters=CreateParameters,
    required=("recipients", "body"),
    refusals=(Code.INVALID_ATTRIBUTE, Code.INVALID_RECORD, Code.NOT_FOUND),
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
