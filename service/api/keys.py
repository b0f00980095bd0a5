"""What the application holds for its handlers, with its type. What belongs to one module stands there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from aiohttp import web

from service.application.messages.tag_sets import TagSets
from service.runtime.ids import IdBlocks
from service.runtime.readiness import BrokerHealth, Readiness
from service.runtime.replica import Replica
from service.runtime.settings import Settings

if TYPE_CHECKING:
    import asyncpg

    from service.contracts.commands import AnyCommand
    from service.runtime.queue_counts import QueueCount


class BrokerState(BrokerHealth, Protocol):
    """What the gateway needs to know of the broker."""

    async def command(self, command: AnyCommand) -> None:
        """Publish one command; BrokerUnavailable when it was not confirmed."""

    async def count_queue(self, queue: str) -> QueueCount | None:
        """What is in a queue and who consumes from it, None where it is missing; BrokerUnavailable."""


SETTINGS = web.AppKey("settings", Settings)
POOL: web.AppKey[asyncpg.Pool] = web.AppKey("pool")
REPLICA: web.AppKey[Replica | None] = web.AppKey("replica")
BROKER: web.AppKey[BrokerState] = web.AppKey("broker")
READINESS = web.AppKey("readiness", Readiness)
IDS = web.AppKey("ids", IdBlocks)
TAG_SETS = web.AppKey("tag_sets", TagSets)
