"""The edge at which every error becomes an answer; the bodies stand in service/application/presentation/errors.py."""

import secrets
from http import HTTPStatus

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from service.api.parameters import Disconnected
from service.api.responses import respond
from service.api.unavailable import Unavailable
from service.application.presentation.answer import Answer
from service.application.presentation.errors import answer_of, fault, unavailable
from service.domain.errors import Code, Refusal

log = structlog.get_logger()

GONE = 499  # the client went away before the answer; only the log and the figures have it
_OF_STATUS = {404: Code.NOT_FOUND, 405: Code.NOT_FOUND, 413: Code.TOO_LARGE}


def _respond(request: web.Request, answer: Answer[object]) -> web.Response:
    return respond(request, answer.body, answer.status, answer.headers)


def _of_exception(error: Exception) -> Answer[object]:
    if isinstance(error, Unavailable):
        log.warning("unavailable", error=str(error))
        return unavailable()
    report_id = secrets.randbelow(10**12)
    log.error("request failed", error_report_id=report_id, exc_info=error)
    return fault(report_id)


def _of_http(error: web.HTTPException) -> Answer[object]:
    if error.status in _OF_STATUS:
        return answer_of(Refusal(_OF_STATUS[error.status]))
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _of_exception(error)
    return Answer(error.status, {"errors": [{"message": error.reason}]})


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refusals in their shapes, what can only be done later as 503, anything else as 500 with a report id."""
    try:
        return await handler(request)
    except Refusal as refusal:
        return _respond(request, answer_of(refusal))
    except Disconnected:
        if request.transport is not None:
            request.transport.close()
        return web.Response(status=GONE)
    except web.HTTPException as error:
        return _respond(request, _of_http(error))
    except Exception as error:
        return _respond(request, _of_exception(error))
