"""PUT /conversations/batches/:id: a send that is scheduled starts at another time (CONTRACT 3.1)."""

from aiohttp import web
from pydantic import Field

from service.api.access import caller_accounts
from service.api.authentication import caller
from service.api.database import connection
from service.api.description import Outcome, Tag, describe
from service.api.origin import base_url
from service.api.responses import respond
from service.api.routing import path_id
from service.api.work import work_of
from service.application.messages.schedule import move
from service.application.parameters.types import GivenText, Parameters
from service.application.presentation.batches import present_batch
from service.application.presentation.shapes import BatchProgress
from service.application.transactions import committed
from service.domain.errors import Code


class ScheduleParameters(Parameters):
    """CONTRACT 3.1"""

    send_at: GivenText = Field(
        None,
        description="When it is to start: ISO 8601 with a time and a zone, at most 366 days ahead.",
        json_schema_extra={"format": "date-time"},
    )


@describe(
    "Move a scheduled batch",
    {200: Outcome("The batch, as it is now.", BatchProgress)},
    text="A batch that is not scheduled, or not any more, is left as it is.",
    tag=Tag.BATCHES,
    parameters=ScheduleParameters,
    required=("send_at",),
    refusals=(Code.INVALID_ATTRIBUTE, Code.CONFLICT),
)
async def move_batch(request: web.Request, sent: ScheduleParameters) -> web.Response:
    """One batch of the caller's."""
    batch_id, work = path_id(request), work_of(request)
    sender_id, base = caller(request).user_id, base_url(request)
    async with connection(request) as conn:
        accounts = await caller_accounts(request, conn)
        moved = await committed(
            conn,
            lambda: move(work, conn, batch_id, sender_id=sender_id, accounts=accounts, send_at=sent.send_at),
        )
        shown = await present_batch(conn, moved, viewer_id=sender_id, base_url=base)
    return respond(request, shown)


routes = [web.put("/api/v1/conversations/batches/{id}", move_batch)]
