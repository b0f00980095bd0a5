"""What a sender does with a batch on its way: POST /conversations/batches/:id/cancel, /pause, /resume, /retry."""

from aiohttp import web

from service.api.access import caller_accounts
from service.api.authentication import caller
from service.api.database import connection
from service.api.description import Outcome, Tag, describe
from service.api.origin import base_url
from service.api.publish import announce
from service.api.responses import respond
from service.api.routing import path_id
from service.api.work import work_of
from service.application.messages.batch_moves import move_batch
from service.application.presentation.batches import present_batch
from service.application.presentation.shapes import BatchProgress
from service.contracts.commands import PlanBatch
from service.domain.batch import Move
from service.domain.errors import Code

_MOVED = {200: Outcome("The batch as the move has left it.", BatchProgress)}


@describe(
    "Cancel a batch",
    _MOVED,
    text="What is delivered stays, everybody else is skipped. Deliveries that have begun may end after the answer.",
    tag=Tag.BATCHES,
    refusals=(Code.CONFLICT,),
)
async def cancel_batch(request: web.Request) -> web.Response:
    """From any state but the last ones."""
    return await _move(request, Move.CANCEL)


@describe(
    "Pause a batch",
    _MOVED,
    text="No further delivery begins after the answer; those that have begun end.",
    tag=Tag.BATCHES,
    refusals=(Code.CONFLICT,),
)
async def pause_batch(request: web.Request) -> web.Response:
    """While it is under way."""
    return await _move(request, Move.PAUSE)


@describe(
    "Resume a batch",
    _MOVED,
    text="A paused one goes on. Who was deleted or can no longer be reached meanwhile is skipped.",
    tag=Tag.BATCHES,
    refusals=(Code.CONFLICT,),
)
async def resume_batch(request: web.Request) -> web.Response:
    """The workers are called; should that be lost, their sweeper finds what waits."""
    return await _move(request, Move.RESUME)


@describe(
    "Retry a batch",
    _MOVED,
    text="One that has ended is sent again to those who failed, and to no others.",
    tag=Tag.BATCHES,
    refusals=(Code.CONFLICT,),
)
async def retry_batch(request: web.Request) -> web.Response:
    """As resume."""
    return await _move(request, Move.RETRY)


async def _move(request: web.Request, move: Move) -> web.Response:
    batch_id, sender = path_id(request), caller(request).user_id
    base, cause = base_url(request), work_of(request).cause
    async with connection(request) as conn:
        accounts = await caller_accounts(request, conn)
        moved = await move_batch(conn, move, batch_id, sender, accounts=accounts, cause=cause)
        if move in (Move.RESUME, Move.RETRY):
            announce(request, PlanBatch(batch_id=batch_id))
        shown = await present_batch(conn, moved, viewer_id=sender, base_url=base)
    return respond(request, shown)


routes = [
    web.post("/api/v1/conversations/batches/{id}/cancel", cancel_batch),
    web.post("/api/v1/conversations/batches/{id}/pause", pause_batch),
    web.post("/api/v1/conversations/batches/{id}/resume", resume_batch),
    web.post("/api/v1/conversations/batches/{id}/retry", retry_batch),
]
