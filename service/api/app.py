"""The gateway put together: what it holds, what a request passes through, where it may go."""

import asyncio
from itertools import chain

import asyncpg
from aiohttp import web

from service.api import (
    add_message,
    add_recipients,
    administration,
    asyncapi,
    batch_events,
    batch_moves,
    batch_recipients,
    batch_update,
    batches,
    console,
    create_conversation,
    credentials,
    docs,
    figures,
    health,
    list_conversations,
    openapi,
    participant,
    progress,
    schedule,
    search,
    show_conversation,
    user,
)
from service.api.authentication import authenticate
from service.api.deadline import DEADLINES, hurry, keep_deadline
from service.api.early_delivery import EARLY_DELIVERIES, EarlyDeliveries, finish_early_deliveries
from service.api.errors import answer_errors
from service.api.idempotency_keys import answer_once
from service.api.keys import BROKER, IDS, POOL, READINESS, REPLICA, SETTINGS, TAG_SETS, BrokerState
from service.api.observation import add_headers, observe
from service.api.openapi import DOCUMENT
from service.api.origin import require_host
from service.api.parameters import PARSER, close_parser
from service.api.parser import PATIENCE, Parser
from service.api.places import PLACES, Places
from service.api.publish import PUBLISHING
from service.api.reading import REPLICA_PLACES, read_again
from service.api.routing import choose_endpoint, register
from service.api.throttle import SETTLING, add_throttle_headers, finish_settling
from service.application.messages.tag_sets import TagSets
from service.runtime.ids import IdBlocks
from service.runtime.readiness import Readiness
from service.runtime.replica import Replica
from service.runtime.settings import Settings

_BODIES = 8  # of the greatest length may wait to be parsed, or so many more that are shorter
MODULES = (
    health,
    batches,
    batch_events,
    batch_recipients,
    batch_moves,
    create_conversation,
    add_message,
    add_recipients,
    administration,
    batch_update,
    progress,
    schedule,
    search,
    list_conversations,
    show_conversation,
    participant,
    user,
    openapi,
    asyncapi,
    docs,
    console,
)


def build_app(
    settings: Settings, pool: asyncpg.Pool, broker: BrokerState, *, replica_pool: asyncpg.Pool | None = None
) -> web.Application:
    """The application, for service/api/server.py to serve. Pools and broker stay the caller's to close."""
    app = web.Application(
        # Outermost first.
        middlewares=[
            *(observe, answer_errors, keep_deadline, choose_endpoint, require_host, authenticate),
            *(answer_once, read_again),
        ],
    )
    app[SETTINGS], app[POOL], app[BROKER] = settings, pool, broker
    app[IDS], app[TAG_SETS] = IdBlocks(), TagSets()
    app[REPLICA] = None if replica_pool is None else Replica(replica_pool)
    app[READINESS] = Readiness(settings, broker, replica=app[REPLICA])
    app[PLACES] = Places(pool.get_max_size(), bodies=settings.max_body_bytes * _BODIES)
    app[REPLICA_PLACES] = Places(settings.database_pool_size, bodies=0)
    app[PARSER] = Parser(max(settings.request_timeout, PATIENCE))
    app[EARLY_DELIVERIES] = EarlyDeliveries(app)
    app[PUBLISHING], app[SETTLING], app[DEADLINES] = set(), set(), set()
    app.on_shutdown.append(hurry)
    batch_events.set_up(app)
    credentials.set_up(app)
    figures.set_up(app)
    app.on_cleanup.extend(
        [_finish_publishing, finish_settling, finish_early_deliveries, close_parser, _close_readiness]
    )
    app.on_response_prepare.extend([add_headers, add_throttle_headers])
    routes = list(chain.from_iterable(module.routes for module in MODULES))
    if settings.metrics_port is not None:
        routes = [route for route in routes if route.path != "/metrics"]
    app[DOCUMENT] = openapi.Document(settings, routes)
    register(app, routes)
    return app


async def _close_readiness(app: web.Application) -> None:
    await app[READINESS].close()


async def _finish_publishing(app: web.Application) -> None:
    if app[PUBLISHING]:
        await asyncio.gather(*app[PUBLISHING])
