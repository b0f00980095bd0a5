"""What became of each recipient of a batch, over HTTP: GET /conversations/batches/:id/recipients."""

from collections.abc import AsyncGenerator, Sequence

from aiohttp import hdrs, web
from pydantic import Field

from service.api.access import caller_accounts
from service.api.authentication import caller
from service.api.description import Outcome, Tag, describe
from service.api.pagination import marked_link_headers
from service.api.reading import reading
from service.api.responses import STRING_IDS, respond
from service.api.routing import path_id
from service.api.streams import stream
from service.application.parameters.types import Parameters, ScalarString, one_of
from service.application.presentation.batch_recipients import csv_header, csv_lines, present_recipients
from service.application.presentation.shapes import BatchRecipient
from service.domain.batch_recipients import RecipientState
from service.domain.bookmarks import RecipientMark, parse_marked_page
from service.domain.errors import Code, Refusal, invalid
from service.domain.media_types import quality
from service.runtime.replica import ReplicaAway
from sql.batch_recipients import list_recipients
from sql.batches import find_batch
from sql.connection import Connection

_CSV = "text/csv"
_JSON = (STRING_IDS, "application/json")
_CSV_PART = 1000  # lines that are made at a time, which holds up other requests for some milliseconds
_EXAMPLE = (
    "user_id,state,conversation_id,message_id,error,updated_at\r\n"
    "102,delivered,24001,24001,,2026-01-01T09:00:00Z\r\n"
    "103,skipped,,,user_deleted,2026-01-01T09:00:00Z\r\n"
)


class RecipientParameters(Parameters):
    """CONTRACT 3.1"""

    state: ScalarString = Field(
        None, description="Those in this state; without it all.", json_schema_extra=one_of(RecipientState)
    )
    page: ScalarString = Field(None, description="Which page; take it from the Link header.")
    per_page: ScalarString = Field(
        None, description="Items on a page, up to 100.", json_schema_extra={"type": "integer"}
    )

    def states(self) -> list[RecipientState]:
        """The states that are asked for; Refusal(INVALID_ATTRIBUTE) for one that is none."""
        if not self.state:
            return list(RecipientState)
        if self.state not in set(RecipientState):
            raise invalid("state", "invalid")
        return [RecipientState(self.state)]


@describe(
    "List a batch's recipients",
    {200: Outcome("A page, by user id.", list[BatchRecipient], headers=("Link",), texts={_CSV: _EXAMPLE})},
    text="What became of each. With `Accept: text/csv` all of them in one answer, whatever page is asked for.",
    tag=Tag.BATCHES,
    parameters=RecipientParameters,
    refusals=(Code.INVALID_ATTRIBUTE, Code.INVALID_PAGE),
)
async def list_batch_recipients(request: web.Request, sent: RecipientParameters) -> web.StreamResponse:
    """A page of the recipients of a batch of the caller's, or all as CSV."""
    batch_id, states = path_id(request), sent.states()
    if _wants_csv(request):
        async with reading(request) as conn:
            await _require_own(request, conn, batch_id)
        return await stream(request, f"{_CSV}; charset=utf-8; header=present", _csv(request, batch_id, states))
    page = parse_marked_page(sent.page, sent.per_page, RecipientMark)
    after = page.after.user_id if isinstance(page.after, RecipientMark) else 0
    async with reading(request) as conn:
        await _require_own(request, conn, batch_id)
        found = await list_recipients(conn, batch_id, states, after=after, limit=page.size + 1)
    shown = found[: page.size]
    following = RecipientMark(shown[-1].user_id) if len(found) > page.size else None
    return respond(request, present_recipients(shown), headers=marked_link_headers(request, page, following))


async def _require_own(request: web.Request, conn: Connection, batch_id: int) -> None:
    """Refusal(NOT_FOUND) for a batch that GET /conversations/batches/:id would not show, and one that is forgotten.

    An empty list would say that it had no recipients.
    """
    accounts = await caller_accounts(request, conn)
    found = await find_batch(conn, batch_id, caller(request).user_id, accounts=accounts)
    if found is None or found.forgotten:
        raise Refusal(Code.NOT_FOUND)


async def _csv(request: web.Request, batch_id: int, states: Sequence[RecipientState]) -> AsyncGenerator[bytes, None]:
    """No connection is held while the reader takes a part."""
    yield csv_header()
    after = 0
    while True:
        try:
            async with reading(request) as conn:
                found = await list_recipients(conn, batch_id, states, after=after, limit=_CSV_PART)
        except ReplicaAway:
            continue  # the answer has begun; this part is read from the primary
        if found:
            after = found[-1].user_id
            yield csv_lines(found)
        if len(found) < _CSV_PART:
            return


def _wants_csv(request: web.Request) -> bool:
    """Whether the client takes CSV, and would not rather have JSON; who takes either without naming CSV gets JSON."""
    accept = ",".join(request.headers.getall(hdrs.ACCEPT, ()))
    csv = quality(accept, _CSV, "text/*")
    return csv > 0 and csv >= quality(accept, *_JSON, "application/*", "*/*")


routes = [web.get("/api/v1/conversations/batches/{id}/recipients", list_batch_recipients)]
