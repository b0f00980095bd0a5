"""POST /conversations/:id/add_recipients: more people for a group conversation."""

from aiohttp import web
from pydantic import Field

from service.api.access import own_conversation
from service.api.authentication import caller
from service.api.database import connection
from service.api.description import Outcome, describe
from service.api.responses import respond
from service.api.routing import path_id
from service.api.viewpoint import includes, viewpoint
from service.api.work import work_of
from service.application.messages.add_recipients import AddRecipients, carry_out, validate
from service.application.parameters.types import CodeList, RawList, ScalarCode
from service.application.parameters.view import ViewParameters
from service.application.presentation.conversations import present
from service.application.presentation.profiles import RECIPIENTS_ADDED
from service.application.presentation.shapes import Conversation
from service.application.transactions import committed
from service.domain.errors import Code
from service.domain.recipients import as_text
from sql.replies import newest_message


class AddRecipientsParameters(ViewParameters):
    """canvas/endpoints.md 4.8"""

    recipients: RawList = Field([], description="Ids of users, or everybody in `course_N`, `section_N` or `group_N`.")
    context_code: ScalarCode = Field(None, description="The context in which the users have to be found.")
    tags: CodeList = Field([], description="More contexts under which the conversation is found.")


@describe(
    "Add people",
    {200: Outcome("The conversation with its newest message.", Conversation)},
    text="To a conversation that is not private. They get all messages, and everybody is told.",
    parameters=AddRecipientsParameters,
    required=("recipients",),
    refusals=(Code.INVALID_ATTRIBUTE, Code.NO_RECIPIENTS),
)
async def add_recipients(request: web.Request, sent: AddRecipientsParameters) -> web.Response:
    """200 with the conversation and the newest message that the adder sees in it."""
    conversation_id, user_id = path_id(request), caller(request).user_id
    command = AddRecipients(
        user_id, conversation_id, as_text(sent.recipients), sent.context_code or None, tuple(sent.tags)
    )
    work = work_of(request)
    async with connection(request) as conn:
        await own_conversation(request, conn, conversation_id)
        view = viewpoint(request, sent)
        plan = await validate(work, conn, command)
        await committed(conn, lambda: carry_out(work, conn, command, plan))
        newest = await newest_message(conn, user_id, conversation_id)
        (shown,) = await present(
            conn,
            view,
            [conversation_id],
            RECIPIENTS_ADDED,
            uuids="uuid" in includes(request, sent),
            single_messages={} if newest is None else {conversation_id: newest},
        )
    return respond(request, shown)


routes = [web.post("/api/v1/conversations/{id}/add_recipients", add_recipients)]
