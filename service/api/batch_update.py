"""PUT /conversations: one event for many conversations, carried out by a worker."""

from aiohttp import web
from pydantic import Field

from service.api.access import caller_accounts
from service.api.authentication import caller
from service.api.database import connection
from service.api.description import Outcome, describe
from service.api.origin import base_url
from service.api.publish import announce
from service.api.responses import respond
from service.application.inbox import batch_update
from service.application.parameters.types import Parameters, RealArray, ScalarString, one_of
from service.application.presentation.shapes import Progress
from service.contracts.commands import UpdateConversations
from service.domain.errors import Code
from service.domain.participant import Event


class BatchUpdateParameters(Parameters):
    """canvas/endpoints.md 4.11"""

    conversation_ids: RealArray = Field(None, description="Up to 500 conversations; it has to be an array.")
    event: ScalarString = Field(None, description="What happens to each.", json_schema_extra=one_of(Event))


@describe(
    "Update many conversations",
    {200: Outcome("How the update is doing; ask for it again.", Progress)},
    text="Carried out after the answer. Conversations that the caller does not have are counted as failures.",
    parameters=BatchUpdateParameters,
    required=("conversation_ids", "event"),
    refusals=(Code.INVALID_BATCH_UPDATE,),
)
async def update_conversations(request: web.Request, sent: BatchUpdateParameters) -> web.Response:
    """200 with the progress of what was accepted."""
    conversation_ids, event = batch_update.validate(sent.conversation_ids, sent.event)
    async with connection(request) as conn:
        accounts = await caller_accounts(request, conn)
        user_id = caller(request).user_id
        progress = await batch_update.accept(conn, user_id, conversation_ids, event, accounts=accounts)
    announce(request, UpdateConversations(progress_id=progress.id))
    return respond(request, batch_update.present_progress(progress, base_url(request)))


routes = [web.put("/api/v1/conversations", update_conversations)]
