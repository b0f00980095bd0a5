"""Commands for the workers about what is committed, published without holding up the answer."""

import asyncio

import structlog
from aiohttp import web

from service.api.keys import BROKER
from service.contracts.commands import AnyCommand
from service.runtime.broker import BrokerUnavailable

PUBLISHING: web.AppKey[set[asyncio.Task[None]]] = web.AppKey("publishing")  # commands on their way

_HELD: web.RequestKey[list[AnyCommand]] = web.RequestKey("held")  # until what they are about is committed

log = structlog.get_logger(__name__)


def hold_commands(request: web.Request) -> list[AnyCommand]:
    """What the request announces from now on is not published: it comes into this list."""
    held: list[AnyCommand] = []
    request[_HELD] = held
    return held


def announce(request: web.Request, command: AnyCommand) -> None:
    """Publishes the command in the background. Should that fail, a sweeper finds the row that it names."""
    if _HELD in request:
        request[_HELD].append(command)
    else:
        publish(request.app, command)


def publish(app: web.Application, command: AnyCommand) -> None:
    """As ``announce``, of what has been held."""
    tasks = app[PUBLISHING]
    task = asyncio.create_task(_publish(app, command))
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _publish(app: web.Application, command: AnyCommand) -> None:
    try:
        await app[BROKER].command(command)
    except BrokerUnavailable as error:
        log.warning("command_not_published", message_id=command.message_id, error=str(error))
