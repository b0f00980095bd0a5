"""GET /conversations and /conversations/unread_count."""

from dataclasses import replace

from aiohttp import web
from pydantic import Field

from service.api.access import caller_accounts
from service.api.authentication import caller
from service.api.description import Outcome, describe
from service.api.early_delivery import deliver_awaited
from service.api.pagination import PageParameters, link_headers, page_of
from service.api.reading import reading
from service.api.responses import respond
from service.api.viewpoint import GetParameters, includes, viewpoint
from service.application.inbox.list_conversations import count_unread, load_page
from service.application.parameters.types import Presence
from service.application.parameters.view import ViewParameters
from service.application.presentation.profiles import LIST, LIST_WITH_AVATARS
from service.application.presentation.shapes import Conversation, ConversationsWithIds, UnreadCount
from service.domain.errors import Code


class ListParameters(ViewParameters, GetParameters, PageParameters):
    """canvas/endpoints.md 4.1"""

    include_all_conversation_ids: Presence = Field(
        False, description="Answer an object with the page and the ids of all pages. Any value counts as true."
    )


@describe(
    "List conversations",
    {200: Outcome("A page, the newest first.", list[Conversation] | ConversationsWithIds)},
    text="The caller's conversations within a scope: the inbox without one.",
    parameters=ListParameters,
    refusals=(Code.INVALID_ATTRIBUTE,),
)
async def list_conversations(request: web.Request, sent: ListParameters) -> web.Response:
    """A page of the caller's conversations; with include_all_conversation_ids also the ids of all of them."""
    view = viewpoint(request, sent)
    page = page_of(sent)
    included = includes(request, sent)
    await deliver_awaited(request)
    async with reading(request) as conn:
        view = replace(view, accounts=await caller_accounts(request, conn))
        listing = await load_page(
            conn,
            view,
            page,
            LIST_WITH_AVATARS if "participant_avatars" in included else LIST,
            all_ids=sent.include_all_conversation_ids,
            uuids="uuid" in included,
            beta=sent.include_beta,
        )
    body: list[Conversation] | ConversationsWithIds = listing.conversations
    if listing.all_ids is not None:
        body = {"conversations": listing.conversations, "conversation_ids": listing.all_ids}
    return respond(request, body, headers=link_headers(request, page, total=listing.total))


@describe("Count unread conversations", {200: Outcome("The number, as text.", UnreadCount)})
async def unread_count(request: web.Request) -> web.Response:
    """How many conversations are unread, as text: Canvas keeps that for old clients."""
    await deliver_awaited(request)
    async with reading(request) as conn:
        accounts = await caller_accounts(request, conn)
        count = await count_unread(conn, caller(request).user_id, accounts=accounts)
    return respond(request, {"unread_count": str(count)})


routes = [
    web.get("/api/v1/conversations", list_conversations),
    web.get("/api/v1/conversations/unread_count", unread_count),
]
