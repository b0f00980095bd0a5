"""The Progress API: GET /progress/:id and POST /progress/:id/cancel (canvas/endpoints.md 4.14)."""

from aiohttp import web
from pydantic import Field

from service.api.authentication import caller
from service.api.database import connection
from service.api.description import Outcome, Tag, describe
from service.api.origin import base_url
from service.api.reading import reading
from service.api.responses import respond
from service.api.routing import path_id
from service.application.inbox import batch_update
from service.application.inbox.batch_update import present_progress
from service.application.parameters.types import Parameters, ScalarString
from service.application.presentation.shapes import Progress
from service.domain.errors import Code


class CancelParameters(Parameters):
    """Why it is cancelled, for the message."""

    message: ScalarString = Field(None, description="Why.")


@describe(
    "Show a progress",
    {200: Outcome("How far it has come.", Progress)},
    tag=Tag.PROGRESS,
    refusals=(Code.NOT_AUTHORISED,),
)
async def show_progress(request: web.Request) -> web.Response:
    """How far a batch update of the caller's has come."""
    progress_id = path_id(request)
    async with reading(request) as conn:
        found = await batch_update.read(conn, caller(request).user_id, progress_id)
    return respond(request, present_progress(found, base_url(request)))


@describe(
    "Cancel a progress",
    {200: Outcome("Failed; what was done stays done.", Progress)},
    tag=Tag.PROGRESS,
    parameters=CancelParameters,
    refusals=(Code.NOT_AUTHORISED,),
)
async def cancel_progress(request: web.Request, sent: CancelParameters) -> web.Response:
    """Fails a batch update of the caller's; what it has done stays done."""
    progress_id = path_id(request)
    async with connection(request) as conn:
        cancelled = await batch_update.cancel(conn, caller(request).user_id, progress_id, sent.message)
    return respond(request, present_progress(cancelled, base_url(request)))


routes = [
    web.get("/api/v1/progress/{id}", show_progress),
    web.post("/api/v1/progress/{id}/cancel", cancel_progress),
]
