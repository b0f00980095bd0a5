"""What reading could cost at least: an aiohttp handler that answers with one count from a pool, nothing around it."""

import socket
from collections.abc import AsyncIterator

import asyncpg
import uvloop
from aiohttp import web

from sql.inbox import unread_count

POOL = web.AppKey("pool", asyncpg.Pool)
USER = web.AppKey("user", int)


async def _count(request: web.Request) -> web.Response:
    async with request.app[POOL].acquire() as conn:
        return web.json_response({"unread_count": str(await unread_count(conn, request.app[USER]))})


def serve(listening: socket.socket, url: str, size: int, user_id: int) -> None:
    """Answers every GET of ``/`` on that socket, for as long as its process lives; ``size``: of the pool."""
    app = web.Application()
    app[USER] = user_id

    async def connected(app: web.Application) -> AsyncIterator[None]:
        async with asyncpg.create_pool(url, min_size=0, max_size=size) as app[POOL]:
            yield

    app.cleanup_ctx.append(connected)
    app.router.add_get("/", _count)
    web.run_app(app, sock=listening, access_log=None, print=lambda _: None, loop=uvloop.new_event_loop())
