"""The edge at which every error becomes an answer; the bodies stand in service/application/presentation/errors.py."""

import secrets

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from service.api.responses import respond
from service.application.presentation.answer import Answer
from service.application.presentation.errors import answer_of, fault, unavailable
from service.domain.errors import Code, Refusal
from service.runtime.postgres import UNAVAILABLE

log = structlog.get_logger()

_OF_STATUS = {404: Code.NOT_FOUND, 405: Code.NOT_FOUND, 413: Code.TOO_LARGE}


def _respond(request: web.Request, answer: Answer[object]) -> web.Response:
    return respond(request, answer.body, answer.status, answer.headers)


def _of_exception(error: Exception) -> Answer[object]:
    # asyncpg reports a value it cannot encode as an InterfaceError too: our fault, not the database's.
    if isinstance(error, UNAVAILABLE) and not isinstance(error, ValueError):
        log.warning("database unavailable", error=repr(error))
        return unavailable()
    report_id = secrets.randbelow(10**12)
    log.error("request failed", error_report_id=report_id, exc_info=error)
    return fault(report_id)


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refusals in their shapes, an unreachable database as 503, anything else as 500 with a report id."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return _respond(request, answer_of(refusal))
    except web.HTTPException as error:
        if error.status in _OF_STATUS:
            return _respond(request, answer_of(Refusal(_OF_STATUS[error.status])))
        if error.status >= 500:  # noqa: PLR2004 - the class of statuses
            return _respond(request, _of_exception(error))
        return respond(request, {"errors": [{"message": error.reason}]}, error.status)
    except Exception as error:
        return _respond(request, _of_exception(error))
