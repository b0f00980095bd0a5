"""For administrators of the site: GET /conversations/deleted, PUT /conversations/restore, DELETE …/delete_for_all."""

from datetime import datetime

from aiohttp import web
from pydantic import Field

from service.api.authentication import caller
from service.api.database import connection
from service.api.description import Outcome, Tag, describe
from service.api.keys import TAG_SETS
from service.api.origin import base_url
from service.api.pagination import PageParameters, link_headers, page_of
from service.api.responses import respond
from service.api.routing import path_id, required_id
from service.application.inbox import administration
from service.application.inbox.administration import Deletions, Restoration
from service.application.parameters.types import IdList, Parameters, ScalarCode, ScalarString
from service.application.presentation.shapes import DeletedMessage, Message, Nothing
from service.application.transactions import committed
from service.domain.dates import parse_iso
from service.domain.errors import Code, invalid


class DeletedParameters(PageParameters):
    """canvas/endpoints.md 4.15"""

    user_id: IdList = Field([], description="Who deleted them.")
    conversation_id: ScalarCode = Field(None, description="From which conversation.")
    deleted_before: ScalarString = Field(None, description="A time.", json_schema_extra={"format": "date-time"})
    deleted_after: ScalarString = Field(None, description="A time.", json_schema_extra={"format": "date-time"})


class RestoreParameters(Parameters):
    """canvas/endpoints.md 4.15; asked for in this order."""

    message_id: ScalarCode = Field(None, description="The message.")
    user_id: ScalarCode = Field(None, description="Who deleted it.")
    conversation_id: ScalarCode = Field(None, description="From which conversation.")


def _moment(name: str, text: str | None) -> datetime | None:
    if not text:
        return None
    moment = parse_iso(text)
    if moment is None:
        raise invalid(name, "invalid")
    return moment


def _required(name: str, text: str | None) -> str:
    if not text:
        raise invalid(name, "required")
    return text


@describe(
    "List deleted messages",
    {200: Outcome("All of them, the newest deletion first.", list[DeletedMessage])},
    tag=Tag.ADMINISTRATION,
    parameters=DeletedParameters,
    required=("user_id",),
    refusals=(Code.NOT_AUTHORISED, Code.INVALID_ATTRIBUTE),
)
async def list_deleted(request: web.Request, sent: DeletedParameters) -> web.Response:
    """What the given users have deleted; the header has pages, the list is whole, as in Canvas."""
    viewer = caller(request).user_id
    async with connection(request) as conn:
        await administration.check_site_admin(conn, viewer)
        page = page_of(sent)
        wanted = Deletions(
            user_ids=sent.user_id,
            conversation_id=required_id(sent.conversation_id) if sent.conversation_id else None,
            before=_moment("deleted_before", sent.deleted_before),
            after=_moment("deleted_after", sent.deleted_after),
        )
        base = base_url(request)
        found = await administration.deleted_messages(conn, wanted, viewer_id=viewer, base_url=base)
    return respond(request, found, headers=link_headers(request, page, total=len(found)))


@describe(
    "Give a deleted message back",
    {200: Outcome("The message, in an array.", list[Message])},
    tag=Tag.ADMINISTRATION,
    parameters=RestoreParameters,
    required=("message_id", "user_id", "conversation_id"),
    refusals=(Code.NOT_AUTHORISED, Code.INVALID_ATTRIBUTE, Code.NOT_FOUND),
)
async def restore_message(request: web.Request, sent: RestoreParameters) -> web.Response:
    """One user gets one deleted message back."""
    viewer, tag_sets = caller(request).user_id, request.app[TAG_SETS]
    base = base_url(request)
    async with connection(request) as conn:
        await administration.check_site_admin(conn, viewer)
        message, user, conversation = (_required(name, value) for name, value in sent.model_dump().items())
        wanted = Restoration(required_id(message), required_id(user), required_id(conversation))
        restored = await committed(
            conn, lambda: administration.restore(conn, tag_sets, wanted, viewer_id=viewer, base_url=base)
        )
    return respond(request, restored)


@describe(
    "Delete a conversation for everybody",
    {200: Outcome("Nobody has it any more.", Nothing)},
    tag=Tag.ADMINISTRATION,
    refusals=(Code.NOT_AUTHORISED,),
)
async def delete_for_all(request: web.Request) -> web.Response:
    """The conversation leaves the lists of all its participants; it stays stored."""
    user_id = caller(request).user_id
    async with connection(request) as conn:
        conversation_id = path_id(request)
        await committed(conn, lambda: administration.delete_for_all(conn, user_id, conversation_id))
    return respond(request, {})


routes = [
    web.get("/api/v1/conversations/deleted", list_deleted),
    web.put("/api/v1/conversations/restore", restore_message),
    web.delete("/api/v1/conversations/{id}/delete_for_all", delete_for_all),
]
