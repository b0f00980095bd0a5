"""What a request that sends a message is given to work with."""

from aiohttp import web

from service.api.event_metadata import request_cause
from service.api.keys import IDS, SETTINGS, TAG_SETS
from service.application.messages.work import Work


def work_of(request: web.Request) -> Work:
    """The process's settings, ids and tag sets, and the cause that events give: this authenticated request."""
    return Work(request.app[SETTINGS], request.app[IDS], request.app[TAG_SETS], request_cause(request))
