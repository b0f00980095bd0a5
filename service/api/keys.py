"""What the application holds for its handlers, with its type. What belongs to one module stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from service.application.messages.tag_sets import TagSets
from service.runtime.ids import IdBlocks
from service.runtime.settings import Settings

if TYPE_CHECKING:
    import asyncpg

    from service.contracts.commands import AnyCommand
    from service.runtime.topology import Fault


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
POOL: web.AppKey[asyncpg.Pool] = web.AppKey("pool")
BROKER: web.AppKey[BrokerState] = web.AppKey("broker")
IDS = web.AppKey("ids", IdBlocks)
TAG_SETS = web.AppKey("tag_sets", TagSets)
