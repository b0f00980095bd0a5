"""What the tests of the gateway put around it."""

from dataclasses import dataclass

import aiohttp
from aiohttp import web

from service.api.authentication import caller
from service.api.keys import METHOD
from service.api.parameters import read_parameters
from service.api.responses import respond
from service.contracts.commands import AnyCommand
from service.runtime.broker import BrokerUnavailable

PUBLIC_URL = "https://clarion.example"


@dataclass
class BrokerSwitch:
    """A broker that can be seen but never confirms: what is accepted waits for the sweeper."""

    connected: bool = True

    async def command(self, command: AnyCommand) -> None:
        """Not confirmed."""
        raise BrokerUnavailable


@dataclass(frozen=True)
class Api:
    """A running gateway. ``session`` resolves paths against it; ``app`` has its settings and pool."""

    session: aiohttp.ClientSession
    app: web.Application
    broker: BrokerSwitch


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
