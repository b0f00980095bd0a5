"""Batches over HTTP: GET /conversations/batches and /conversations/batches/:id."""

from aiohttp import web
from pydantic import Field

from service.api.access import caller_accounts
from service.api.authentication import caller
from service.api.description import Outcome, Tag, describe
from service.api.origin import base_url
from service.api.pagination import PageParameters, link_headers, page_of
from service.api.reading import reading
from service.api.responses import respond
from service.api.routing import path_id
from service.application.parameters.types import StringList, one_of
from service.application.presentation.batches import present_batch, present_batches, present_progresses
from service.application.presentation.shapes import Batch, BatchProgress
from service.domain.batch import RUNNING, BatchState
from service.domain.errors import Code, Refusal, invalid
from sql import batches


class ListParameters(PageParameters):
    """``state[]`` is Clarion's own (CONTRACT 3.1); without it only running batches are listed, as Canvas does."""

    state: StringList = Field(
        [],
        description="Batches in these states; without it those that are created or sending.",
        json_schema_extra={"items": {"type": "string", **one_of(BatchState)}},
    )

    def states(self) -> list[BatchState]:
        """The states that are asked for, none for Canvas's list; Refusal(INVALID_ATTRIBUTE) where one is none."""
        if not set(self.state) <= set(BatchState):
            raise invalid("state", "invalid")
        return [BatchState(state) for state in self.state]


@describe(
    "List batches",
    {
        200: Outcome(
            "A page: with `state[]` whole objects, the newest first; without it Canvas's, the oldest first.",
            list[BatchProgress | Batch],
        )
    },
    text="The caller's bulk sends.",
    tag=Tag.BATCHES,
    parameters=ListParameters,
)
async def list_batches(request: web.Request, sent: ListParameters) -> web.Response:
    """The caller's batches in the asked states, or those that run."""
    asked, page = sent.states(), page_of(sent)
    states = asked or list(RUNNING)
    present = present_progresses if asked else present_batches
    sender, base = caller(request).user_id, base_url(request)
    async with reading(request) as conn:
        accounts = await caller_accounts(request, conn)
        total = await batches.count_batches(conn, sender, states, accounts=accounts)
        found = await batches.list_batches(
            conn,
            sender,
            states,
            accounts=accounts,
            limit=page.size,
            offset=page.offset,
            newest_first=bool(asked),
        )
        shown = await present(conn, found, viewer_id=sender, base_url=base)
    return respond(request, shown, headers=link_headers(request, page, total=total))


@describe("Show a batch", {200: Outcome("The batch and how far it has come.", BatchProgress)}, tag=Tag.BATCHES)
async def show_batch(request: web.Request) -> web.Response:
    """One batch of the caller's, in whatever state, with its progress."""
    batch_id = path_id(request)
    sender, base = caller(request).user_id, base_url(request)
    async with reading(request) as conn:
        found = await batches.find_batch(conn, batch_id, sender, accounts=await caller_accounts(request, conn))
        if found is None:
            raise Refusal(Code.NOT_FOUND)
        shown = await present_batch(conn, found, viewer_id=sender, base_url=base)
    return respond(request, shown)


routes = [
    web.get("/api/v1/conversations/batches", list_batches),
    web.get("/api/v1/conversations/batches/{id}", show_batch),
]
