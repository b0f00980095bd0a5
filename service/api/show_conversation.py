"""GET /conversations/:id: one conversation with its messages."""

from aiohttp import web
from pydantic import Field

from service.api.access import own_conversation
from service.api.authentication import caller
from service.api.database import connection
from service.api.description import Outcome, describe
from service.api.early_delivery import deliver_awaited
from service.api.keys import REPLICA
from service.api.reading import reading
from service.api.responses import respond
from service.api.routing import path_id
from service.api.viewpoint import GetParameters, includes, viewpoint
from service.application.inbox.show_conversation import load_conversation
from service.application.parameters.types import CanvasBool
from service.application.parameters.view import ViewParameters
from service.application.presentation.profiles import SHOWN, SHOWN_WITHOUT_CONTEXTS
from service.application.presentation.shapes import Conversation
from service.application.presentation.viewpoint import Viewpoint
from service.domain.errors import Code
from sql.connection import Connection
from sql.conversations import OwnConversation, mark_read


class ShowParameters(ViewParameters, GetParameters):
    """canvas/endpoints.md 4.4"""

    auto_mark_as_read: CanvasBool = Field(True, description="An unread conversation becomes read.")
    include_participant_contexts: CanvasBool = Field(True, description="Say what participants share with the caller.")


@describe(
    "Show a conversation",
    {200: Outcome("The conversation with all its messages.", Conversation)},
    text="With every message that the caller has and has not deleted, newest first.",
    parameters=ShowParameters,
    refusals=(Code.INVALID_ATTRIBUTE,),
)
async def show_conversation(request: web.Request, sent: ShowParameters) -> web.Response:
    """One conversation with its messages. Whether it exists is asked before the filter_mode is."""
    conversation_id = path_id(request)
    await deliver_awaited(request)
    async with reading(request) as conn:
        own = await own_conversation(request, conn, conversation_id)
        view = viewpoint(request, sent)
        if not (own.waiting and sent.auto_mark_as_read):
            return respond(request, await _shown(request, sent, conn, view, own))
    async with connection(request) as conn:
        await mark_read(conn, caller(request).user_id, conversation_id, waits=request.app[REPLICA] is not None)
        return respond(request, await _shown(request, sent, conn, view, own))


async def _shown(
    request: web.Request, sent: ShowParameters, conn: Connection, view: Viewpoint, own: OwnConversation
) -> Conversation:
    return await load_conversation(
        conn,
        view,
        own,
        SHOWN if sent.include_participant_contexts else SHOWN_WITHOUT_CONTEXTS,
        uuids="uuid" in includes(request, sent),
        beta=sent.include_beta,
    )


routes = [web.get("/api/v1/conversations/{id}", show_conversation)]
