"""What the tests of the gateway put around it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from service.api.authentication import caller
from service.api.parameters import read_parameters
from service.api.responses import respond
from service.api.routing import METHOD
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.waiting import until

PUBLIC_URL = "https://clarion.example"
NOWHERE = "amqp://127.0.0.1:1/"  # no server listens there


@asynccontextmanager
async def publishing(settings: Settings) -> AsyncIterator[Publisher]:
    """Connected, everything declared."""
    publisher = Publisher(settings, "test")
    await publisher.broker.start()
    try:
        await until(lambda: publisher.connected)
        yield publisher
    finally:
        await publisher.broker.stop()


@asynccontextmanager
async def publishing_nowhere(settings: Settings) -> AsyncIterator[Publisher]:
    """For ever trying to connect, while there is no broker."""
    publisher = Publisher(settings.model_copy(update={"amqp_url": NOWHERE}), "test")
    await publisher.broker.start()
    try:
        yield publisher
    finally:
        await publisher.broker.stop()


@dataclass(frozen=True)
class Api:
    """A running gateway. ``session`` resolves paths against it; ``app`` has its settings and pool."""

    session: aiohttp.ClientSession
    app: web.Application
    broker: Publisher


async def echo(request: web.Request) -> web.Response:
    """What the edge has made of a request."""
    who = caller(request)
    return respond(
        request,
        {
            "id": int(request.match_info["id"]),
            "method": request[METHOD],
            "user_id": who.user_id,
            "real_user_id": who.real_user_id,
            "parameters": await read_parameters(request),
        },
    )


async def fail(_request: web.Request) -> web.Response:
    """A fault of ours."""
    raise LookupError("a fault of ours")


ECHO = [
    web.get("/api/v1/echo/{id}", echo),
    web.post("/api/v1/echo/{id}", echo),
    web.put("/api/v1/echo/{id}", echo),
    web.get("/api/v1/fail", fail),
]
