"""A connection for what only reads: to the replica of CLARION_DATABASE_READ_URL, where there is one.

The statement that finds the caller says how much of the primary's log was there by then. A replica that shows as much
shows everything that anybody was answered with before this request: what the caller has written, through whatever
gateway, and what workers have delivered (CONTRACT 3.3). While it is away or behind, the primary is read.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

from service.api.authentication import caller
from service.api.database import connection, metered
from service.api.deadline import DEADLINE
from service.api.keys import REPLICA
from service.api.places import CLIENT, Places
from service.api.unavailable import Unavailable
from service.runtime.replica import REPLICA_ERRORS, Replica, ReplicaAway
from sql.connection import Connection
from sql.replicas import LogPosition

REPLICA_PLACES: web.AppKey[Places] = web.AppKey("replica_places", Places)
_KEEPS_TO_PRIMARY: web.RequestKey[bool] = web.RequestKey("keeps_to_primary")


@asynccontextmanager
async def reading(request: web.Request) -> AsyncIterator[Connection]:
    """As ``connection`` of service/api/database.py, but for statements that write nothing.

    Raises ReplicaAway when the replica fails meanwhile; from then on the request reads the primary.
    """
    replica, position = request.app[REPLICA], caller(request).log_position
    if replica is not None and position is not None and _KEEPS_TO_PRIMARY not in request and replica.may_be_tried():
        async with AsyncExitStack() as stack:
            try:
                conn = await _acquire(request, stack, replica, position)
            except (ReplicaAway, Unavailable):  # also when too many wait for it
                request[_KEEPS_TO_PRIMARY] = True
            else:
                try:
                    with metered(request):
                        yield conn
                except REPLICA_ERRORS as error:
                    request[_KEEPS_TO_PRIMARY] = True
                    replica.rest(repr(error))
                    raise ReplicaAway(repr(error)) from error
                return
    async with connection(request) as conn:
        yield conn


async def _acquire(request: web.Request, stack: AsyncExitStack, replica: Replica, position: LogPosition) -> Connection:
    places = request.app[REPLICA_PLACES]
    with places.waiting():
        await stack.enter_async_context(places.of(request[CLIENT]))
        conn = await replica.acquire(position)
    stack.push_async_callback(replica.release, conn)
    stack.enter_context(request[DEADLINE].over(conn))
    return conn


@web.middleware
async def read_again(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What the replica broke off is read from the primary, from its beginning: nothing was written nor answered yet."""
    try:
        return await handler(request)
    except ReplicaAway:
        return await handler(request)
