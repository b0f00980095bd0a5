"""The event stream of a batch: GET /conversations/batches/:id/events (CONTRACT 3.1 and 3.6)."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from aiohttp import hdrs, web
from aiohttp_sse import EventSourceResponse

from service.api.access import caller_accounts
from service.api.authentication import authorise_again, caller
from service.api.database import connection
from service.api.deadline import DEADLINE
from service.api.description import Outcome, Tag, describe
from service.api.keys import POOL, SETTINGS
from service.api.origin import base_url
from service.api.responses import json_of
from service.api.routing import path_id
from service.api.unavailable import Unavailable
from service.application.batch_events import BatchEvents, Snapshot, Watcher, take_snapshot
from service.application.presentation.shapes import BatchEvent
from service.domain.errors import Code, Refusal
from service.runtime.metrics import BATCH_STREAMS_OPEN
from sql.batches import find_batch

log = structlog.get_logger(__name__)

_AGAIN = "-again"  # ends the id of a `finished` that was sent before
_COME_BACK = 1_000  # milliseconds, and by chance up to as many more, until those whose stream has ended come back


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: between two heartbeats, until a reader that takes nothing is dropped, between two looks at the token."""

    heartbeat: float = 10.0
    stuck: float = 15.0
    check: float = 30.0


PACE: web.AppKey[Pace] = web.AppKey("pace", Pace)
EVENTS: web.AppKey[BatchEvents] = web.AppKey("batch_events", BatchEvents)


def set_up(app: web.Application) -> None:
    """What the streams share; they end when the gateway has stopped listening, so that they begin elsewhere."""
    app[EVENTS] = BatchEvents(app[POOL], app[SETTINGS].listen_url)
    app[PACE] = Pace()
    app.on_shutdown.append(_end)
    app.on_cleanup.append(_close)


async def _end(app: web.Application) -> None:
    app[EVENTS].end_all()


async def _close(app: web.Application) -> None:
    await app[EVENTS].close()


@describe(
    "Watch a batch",
    {
        200: Outcome(
            "Server-sent events: `progress` at once and at each change, `finished` at the end.",
            BatchEvent,
            "text/event-stream",
        ),
        204: Outcome("The batch is finished, and this client has seen `finished` twice: it need not come back."),
    },
    text=(
        "The data of each event is the object of `GET /conversations/batches/{id}`; its `id` is the same as long as "
        "the batch is. After a break send the last one as `Last-Event-ID`, as a browser's EventSource does; the "
        "present state comes in any case. A comment comes every ten seconds. A stream may end without `finished` (the "
        "service stops, or the token is no longer valid): connect again."
    ),
    tag=Tag.BATCHES,
)
async def watch_batch(request: web.Request) -> web.StreamResponse:
    """The batch of the caller's as it is, and then at each change, until it is finished."""
    first = await _look(request)
    seen = request.headers.get("Last-Event-ID", "")
    if first.finished and seen == first.id + _AGAIN:
        return web.Response(status=HTTPStatus.NO_CONTENT)
    if request.method == hdrs.METH_HEAD:
        return web.Response(content_type="text/event-stream")
    pace = request.app[PACE]
    # LF alone, as in JSON lines; the default of the library is CRLF.
    stream = EventSourceResponse(
        sep="\n", allow_all_methods=True, send_timeout=pace.stuck, ping_interval=pace.heartbeat
    )
    with request[DEADLINE].suspended(), suppress(ConnectionResetError, TimeoutError):  # gone, or stuck and cut off
        await stream.prepare(request)
        async with stream:
            await _stream(request, stream, first, repeated=seen == first.id)
    return stream


async def _look(request: web.Request) -> Snapshot:
    """The batch as the caller may see it now; Refusal(NOT_FOUND) for another sender's."""
    viewer_id, base = caller(request).user_id, base_url(request)
    async with connection(request) as conn:
        found = await find_batch(conn, path_id(request), viewer_id, accounts=await caller_accounts(request, conn))
        if found is None:
            raise Refusal(Code.NOT_FOUND)
        return await take_snapshot(conn, found, viewer_id=viewer_id, base_url=base)


async def _stream(request: web.Request, stream: EventSourceResponse, first: Snapshot, *, repeated: bool) -> None:
    watching = request.app[EVENTS].watching(
        path_id(request), first, viewer_id=caller(request).user_id, base_url=base_url(request)
    )
    with watching as watcher, BATCH_STREAMS_OPEN.track_inprogress():
        async for snapshot in _snapshots(request, stream, watcher):
            event = "finished" if snapshot.finished else "progress"
            id_ = snapshot.id + _AGAIN if repeated and snapshot.finished else snapshot.id
            await stream.send(json_of(request, snapshot.body).decode(), id=id_, event=event)
            if snapshot.finished:
                return
    if stream.is_connected():
        await stream.write(f": connect again\nretry: {_COME_BACK + secrets.randbelow(_COME_BACK)}\n\n".encode())


async def _snapshots(request: web.Request, stream: EventSourceResponse, watcher: Watcher) -> AsyncIterator[Snapshot]:
    """The present state and each one that follows, until the stream has to end."""
    loop, pace = asyncio.get_running_loop(), request.app[PACE]
    check_at = loop.time() + pace.check
    yield watcher.latest
    while stream.is_connected() and not watcher.ended:
        if await watcher.change(within=pace.heartbeat):
            yield watcher.latest
        if loop.time() >= check_at:
            if not await _may_watch(request):
                return
            check_at = loop.time() + pace.check


async def _may_watch(request: web.Request) -> bool:
    """Whether a new request would get the stream too; while the database is away, the old answer holds."""
    try:
        await authorise_again(request)
        await _look(request)
    except Refusal:
        return False
    except Unavailable as error:
        log.warning("stream_not_checked", error=str(error))
    return True


routes = [web.get("/api/v1/conversations/batches/{id}/events", watch_batch)]
