"""What handlers find on the application and on a request, with its type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import web

from service.application.creating import Creator
from service.runtime.settings import Settings

if TYPE_CHECKING:
    import asyncio

    import asyncpg

    from service.api.authentication import Caller
    from service.api.metering import Meter
    from service.api.openapi import Document
    from service.api.routing import Endpoint
    from service.api.throttle import Reservation, Settlement
    from service.contracts.commands import AnyCommand
    from service.runtime.declaring import Fault


class BrokerState(Protocol):
    """What the gateway needs to know of the broker."""

    @property
    def connected(self) -> bool:
        """Whether a publish could be confirmed now."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Exchanges and queues that were not as they should be when last seen."""

    async def command(self, command: AnyCommand) -> None:
        """Publish one command; BrokerUnavailable when it was not confirmed."""


SETTINGS = web.AppKey("settings", Settings)
POOL: web.AppKey[asyncpg.Pool[asyncpg.Record]] = web.AppKey("pool")
BROKER: web.AppKey[BrokerState] = web.AppKey("broker")
CREATOR = web.AppKey("creator", Creator)
PUBLISHING: web.AppKey[set[asyncio.Task[None]]] = web.AppKey("publishing")  # commands on their way
SETTLING: web.AppKey[set[Settlement]] = web.AppKey("settling")  # reservations on their way back
DOCUMENT: web.AppKey[Document] = web.AppKey("document")

CALLER: web.RequestKey[Caller] = web.RequestKey("caller")
ENDPOINT: web.RequestKey[Endpoint] = web.RequestKey("endpoint")
METER: web.RequestKey[Meter] = web.RequestKey("meter")
METHOD: web.RequestKey[str] = web.RequestKey("method")  # after _method and X-HTTP-Method-Override
PARAMETERS: web.RequestKey[dict[str, Any]] = web.RequestKey("parameters")
REQUEST_ID: web.RequestKey[str] = web.RequestKey("request_id")
RESERVATION: web.RequestKey[Reservation] = web.RequestKey("reservation")
