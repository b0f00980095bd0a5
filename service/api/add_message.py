"""POST /conversations/:id/add_message: 200 with the message, or 202 when the workers will write it."""

from collections.abc import Sequence
from typing import Any

from aiohttp import web
from pydantic import Field

from service.api.authentication import caller
from service.api.database import connection
from service.api.description import Outcome, describe
from service.api.publish import announce
from service.api.responses import respond
from service.api.routing import path_id
from service.api.viewpoint import includes, viewpoint
from service.api.work import work_of
from service.application.messages.reply import Queued, Written, carry_out, validate
from service.application.messages.reply_checks import AddMessage
from service.application.parameters.message import DraftParameters, draft_of
from service.application.parameters.types import CodeList
from service.application.presentation.conversations import present
from service.application.presentation.messages import present_messages
from service.application.presentation.profiles import MESSAGE_ADDED, MESSAGE_QUEUED
from service.application.presentation.shapes import Conversation
from service.application.presentation.viewpoint import Viewpoint
from service.application.transactions import committed
from service.contracts.commands import DeliverReply
from service.domain.errors import Code
from service.domain.recipients import as_text
from sql.connection import Connection
from sql.messages import MessageKey

# Canvas shows a queued message under this id (endpoints.md 4.9).
PLACEHOLDER = 0


class AddMessageParameters(DraftParameters):
    """canvas/endpoints.md 4.9"""

    included_messages: CodeList = Field([], description="Earlier messages that recipients without them get too.")


def _named(recipients: Sequence[Any]) -> list[str] | None:
    """What recipients say, None when they are left blank: an empty field limits nothing."""
    return as_text(recipients) if any(item not in (None, "") for item in recipients) else None


@describe(
    "Reply",
    {
        200: Outcome("The conversation with the new message.", Conversation),
        202: Outcome("The conversation is large: the message is queued, and shown under the id 0.", Conversation),
    },
    text="To everybody in the conversation, or to the recipients alone.",
    parameters=AddMessageParameters,
    required=("body",),
    refusals=(Code.NOT_AUTHORISED, Code.REPLY_REFUSED, Code.INVALID_ATTRIBUTE, Code.UNPROCESSABLE),
)
async def add_message(request: web.Request, sent: AddMessageParameters) -> web.Response:
    """A bad filter_mode is refused before the conversation is looked for, unlike anywhere else."""
    view = viewpoint(request, sent)
    command = AddMessage(
        **draft_of(caller(request).user_id, sent, caller(request).actor),
        conversation_id=path_id(request),
        recipients=_named(sent.recipients),
        included_messages=sent.included_messages,
    )
    work = work_of(request)
    uuids = "uuid" in includes(request, sent)
    async with connection(request) as conn:
        plan = await validate(work, conn, command)
        outcome = await committed(conn, lambda: carry_out(work, conn, command, plan))
        if isinstance(outcome, Queued):
            announce(request, DeliverReply(reply_id=outcome.reply_id))
        shown = await _show(conn, view, command.conversation_id, outcome, uuids=uuids)
    return respond(request, shown, 202 if isinstance(outcome, Queued) else 200)


async def _show(
    conn: Connection, view: Viewpoint, conversation_id: int, outcome: Written | Queued, *, uuids: bool
) -> Conversation:
    if isinstance(outcome, Written):
        single = {conversation_id: outcome.message}
        (shown,) = await present(conn, view, [conversation_id], MESSAGE_ADDED, uuids=uuids, single_messages=single)
        return shown
    (shown,) = await present(conn, view, [conversation_id], MESSAGE_QUEUED, uuids=uuids)
    key = MessageKey(PLACEHOLDER, None, outcome.send_id)
    shown["messages"] = await present_messages(conn, [key], viewer_id=view.user_id, base_url=view.base_url)
    return shown


routes = [web.post("/api/v1/conversations/{id}/add_message", add_message)]
