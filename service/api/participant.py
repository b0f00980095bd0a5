"""Changing what one has of a conversation: PUT and DELETE /conversations/:id, remove_messages, mark_all_as_read."""

from typing import Annotated

from aiohttp import web
from pydantic import Field

from service.api.access import caller_accounts, own_conversation
from service.api.authentication import caller
from service.api.database import connection
from service.api.description import Outcome, describe
from service.api.keys import TAG_SETS
from service.api.parameters import PARAMETERS
from service.api.responses import respond
from service.api.routing import path_id
from service.api.viewpoint import includes, viewpoint
from service.application.inbox import participant
from service.application.inbox.participant import Change
from service.application.parameters.types import IF_FILLED, GivenBool, IdList, Parameters, ScalarString, one_of
from service.application.parameters.view import ViewParameters
from service.application.presentation.conversations import present
from service.application.presentation.profiles import DELETED, UPDATED
from service.application.presentation.shapes import Conversation, Nothing
from service.application.transactions import committed
from service.domain.errors import Code, unreadable
from service.domain.participant import Event, State, parse_state


class ConversationParameters(Parameters):
    """``conversation[…]`` of an update."""

    workflow_state: ScalarString = Field(None, description="The state from now on.", json_schema_extra=one_of(State))
    subscribed: GivenBool = Field(None, description="Whether new messages make it unread; not for private ones.")
    starred: GivenBool = Field(None, description="Whether it has a star.")


class UpdateParameters(ViewParameters):
    """canvas/endpoints.md 4.5"""

    conversation: Annotated[ConversationParameters | None, IF_FILLED] = None


class RemoveParameters(ViewParameters):
    """canvas/endpoints.md 4.10; only an absent ``remove`` asks for nothing."""

    remove: IdList = Field([], description="Messages of this conversation.")


@describe(
    "Update a conversation",
    {200: Outcome("The conversation without messages.", Conversation)},
    text="The caller's own view of it; nobody else is affected.",
    parameters=UpdateParameters,
    required=("conversation",),
    refusals=(Code.INVALID_ATTRIBUTE, Code.INVALID_RECORD),
)
async def update_conversation(request: web.Request, sent: UpdateParameters) -> web.Response:
    """State, subscription and star of one conversation."""
    conversation_id, user_id = path_id(request), caller(request).user_id
    async with connection(request) as conn:
        await own_conversation(request, conn, conversation_id)
        view = viewpoint(request, sent)
        if sent.conversation is None:
            raise unreadable("conversation is missing")
        asked = sent.conversation
        change = Change(asked.subscribed, parse_state(asked.workflow_state), asked.starred)
        await committed(conn, lambda: participant.apply_change(conn, user_id, conversation_id, change))
        uuids = "uuid" in includes(request, sent)
        (shown,) = await present(conn, view, [conversation_id], UPDATED, uuids=uuids)
    return respond(request, shown)


@describe(
    "Delete a conversation",
    {200: Outcome("The conversation as the caller had it last, empty.", Conversation)},
    text="From the caller's own view; a new message brings it back.",
    parameters=ViewParameters,
)
async def delete_conversation(request: web.Request, sent: ViewParameters) -> web.Response:
    """Deletes the caller's view. It takes no filter_mode, so a wrong one does no harm."""
    conversation_id, user_id = path_id(request), caller(request).user_id
    view = viewpoint(request, sent.model_copy(update={"filter_mode": None}))
    async with connection(request) as conn:
        await own_conversation(request, conn, conversation_id)
        await committed(conn, lambda: participant.apply_event(conn, user_id, [conversation_id], Event.DESTROY))
        uuids = "uuid" in includes(request, sent)
        (shown,) = await present(conn, view, [conversation_id], DELETED, uuids=uuids)
    return respond(request, shown)


@describe(
    "Delete messages",
    {
        200: Outcome("The conversation without messages.", Conversation),
        204: Outcome("Nothing was asked for."),
    },
    text="From the caller's own view; when none is left, the conversation is deleted.",
    parameters=RemoveParameters,
    required=("remove",),
    refusals=(Code.INVALID_ATTRIBUTE,),
)
async def remove_messages(request: web.Request, sent: RemoveParameters) -> web.Response:
    """Deletes some messages from the caller's view; 204 when it is not said which."""
    conversation_id, user_id = path_id(request), caller(request).user_id
    tag_sets = request.app[TAG_SETS]
    async with connection(request) as conn:
        await own_conversation(request, conn, conversation_id)
        view = viewpoint(request, sent)
        if request[PARAMETERS].get("remove") is None:
            return web.Response(status=204)
        await committed(
            conn, lambda: participant.remove_messages(conn, tag_sets, user_id, [conversation_id], list(sent.remove))
        )
        uuids = "uuid" in includes(request, sent)
        (shown,) = await present(conn, view, [conversation_id], UPDATED, uuids=uuids)
    return respond(request, shown)


@describe("Mark all conversations as read", {200: Outcome("Done.", Nothing)})
async def mark_all_as_read(request: web.Request) -> web.Response:
    """All that waits in the caller's inbox is read."""
    user_id = caller(request).user_id
    async with connection(request) as conn:
        accounts = await caller_accounts(request, conn)
        await committed(conn, lambda: participant.mark_all_read(conn, user_id, accounts=accounts))
    return respond(request, {})


routes = [
    web.post("/api/v1/conversations/mark_all_as_read", mark_all_as_read),
    web.put("/api/v1/conversations/{id}", update_conversation),
    web.delete("/api/v1/conversations/{id}", delete_conversation),
    web.post("/api/v1/conversations/{id}/remove_messages", remove_messages),
]
