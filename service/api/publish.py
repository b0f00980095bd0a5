"""Commands for the workers about what is committed, published without holding up the answer."""

import asyncio

import structlog
from aiohttp import web

from service.api.keys import BROKER
from service.contracts.commands import AnyCommand
from service.runtime.broker import BrokerUnavailable

PUBLISHING: web.AppKey[set[asyncio.Task[None]]] = web.AppKey("publishing")  # commands on their way

log = structlog.get_logger(__name__)


def announce(request: web.Request, command: AnyCommand) -> None:
    """Publishes the command in the background. Should that fail, a sweeper finds the row that it names."""
    tasks = request.app[PUBLISHING]
    task = asyncio.create_task(_publish(request.app, command))
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _publish(app: web.Application, command: AnyCommand) -> None:
    try:
        await app[BROKER].command(command)
    except BrokerUnavailable as error:
        log.warning("command_not_published", message_id=command.message_id, error=str(error))
