"""PUT /conversations: one event for many conversations, carried out by a worker."""

from aiohttp import web

from service.api.announcing import announce
from service.api.authentication import caller
from service.api.database import connection
from service.api.fields import Parameters, RealArray, ScalarString, parse
from service.api.keys import SETTINGS
from service.api.parameters import read_parameters
from service.api.responses import respond
from service.application import batch_updating
from service.contracts.commands import UpdateConversations


class BatchUpdateParameters(Parameters):
    """canvas/endpoints.md 4.11"""

    conversation_ids: RealArray = None
    event: ScalarString = None


async def update_conversations(request: web.Request) -> web.Response:
    """200 with the progress of what was accepted."""
    sent = parse(BatchUpdateParameters, await read_parameters(request))
    conversation_ids, event = batch_updating.validate(sent.conversation_ids, sent.event)
    async with connection(request) as conn:
        progress = await batch_updating.accept(conn, caller(request).user_id, conversation_ids, event)
    announce(request, UpdateConversations(progress_id=progress.id))
    return respond(request, batch_updating.present_progress(progress, request.app[SETTINGS].base_url))


routes = [web.put("/api/v1/conversations", update_conversations)]
