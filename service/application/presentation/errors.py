"""Refusals as answers (canvas/conventions.md 2 and 9).

One table, used by the HTTP gateway and by the workers that answer requests from the broker.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from service.application.presentation.answer import Answer
from service.application.presentation.error_shapes import (
    AccessError,
    ErrorBody,
    ErrorMessage,
    Errors,
    FieldError,
    InvalidAttribute,
    MasqueradeError,
    PageError,
    RecordErrors,
    Sentence,
)
from service.application.presentation.shapes import Nothing
from service.domain.errors import Code, Refusal

_CHALLENGE: Mapping[str, str] = {"WWW-Authenticate": 'Bearer realm="canvas-lms"'}
_NOTHING: Mapping[str, str] = {}
_RETRY_AFTER: Mapping[str, str] = {"Retry-After": "2"}  # seconds


class _Form(NamedTuple):
    status: int
    shape: Callable[[Refusal, str], ErrorBody]
    message: str = ""  # when the refusal brings none
    headers: Mapping[str, str] = _NOTHING


def _attribute(refusal: Refusal, message: str) -> list[InvalidAttribute]:
    return [{"attribute": refusal.attribute, "message": message}]  # shape A


def _sentence(_refusal: Refusal, message: str) -> Sentence:
    return {"message": message}  # shape B


def _record(refusal: Refusal, message: str) -> RecordErrors:
    kind = refusal.kind or message
    error: FieldError = {"attribute": refusal.attribute, "type": kind, "message": message or kind}
    return {"errors": {refusal.attribute: [error]}}  # shape C


def _errors(refusal: Refusal, message: str) -> Errors:
    return {"errors": [{"message": message, **refusal.details}]}  # shape D


def _unauthorised(_refusal: Refusal, message: str) -> AccessError:
    return {"status": "unauthorized", "errors": [{"message": message}]}  # shape E


def _unauthenticated(_refusal: Refusal, message: str) -> AccessError:
    return {"status": "unauthenticated", "errors": [{"message": message}]}  # shape E


def _empty(_refusal: Refusal, _message: str) -> Nothing:
    return {}  # shape F


def _page(_refusal: Refusal, message: str) -> PageError:
    return {"status": "bad_request", "errors": [{"page": message}]}  # conventions.md 4


def _bare(refusal: Refusal, message: str) -> MasqueradeError:
    answer: MasqueradeError = {"errors": message}  # conventions.md 3: a string, not a list
    if refusal.merged_into_user_id is not None:
        answer["merged_into_user_id"] = refusal.merged_into_user_id
    return answer


_FORMS: Mapping[Code, _Form] = {
    Code.INVALID_ATTRIBUTE: _Form(400, _attribute),
    Code.INVALID_RECORD: _Form(400, _record),
    Code.INVALID_BATCH_UPDATE: _Form(400, _sentence),
    Code.REPLY_REFUSED: _Form(401, _attribute),
    Code.NO_RECIPIENTS: _Form(400, _empty),
    Code.BAD_REQUEST: _Form(400, _errors, "The request could not be read."),
    Code.INVALID_PAGE: _Form(400, _page),
    Code.TOO_LARGE: _Form(413, _errors, "The request is too large."),
    Code.UNSUPPORTED_ENCODING: _Form(415, _errors, "A body must come without Content-Encoding."),
    Code.NOT_FOUND: _Form(404, _errors, "The specified resource does not exist."),
    Code.NOT_AUTHORISED: _Form(403, _unauthorised, "user not authorized to perform that action"),
    Code.UNAUTHENTICATED: _Form(401, _unauthenticated, "user authorization required", _CHALLENGE),
    Code.BAD_TOKEN: _Form(401, _errors, "Invalid access token.", _CHALLENGE),
    Code.INSUFFICIENT_SCOPE: _Form(401, _errors, "Insufficient scopes on access token."),
    Code.BAD_AS_USER: _Form(401, _bare, "Invalid as_user_id"),
    Code.CONFLICT: _Form(409, _errors, "The state of the resource does not allow this."),
    Code.NOT_IN_THIS_STATE: _Form(409, _attribute),
    Code.UNPROCESSABLE: _Form(422, _errors, "The request cannot be processed."),
}


def answer_of(refusal: Refusal) -> Answer[ErrorBody]:
    """Status, body and headers of a refusal."""
    form = _FORMS[refusal.code]
    return Answer(form.status, form.shape(refusal, refusal.message or form.message), form.headers)


def fault(report_id: int) -> Answer[Errors]:
    """500: an error of ours; the id stands in the log beside the traceback."""
    error: ErrorMessage = {"message": "An error occurred.", "error_code": "internal_server_error"}
    return Answer(500, {"errors": [error], "error_report_id": report_id})


def unavailable() -> Answer[Errors]:
    """503: the database is away or too slow, or went away and left unknown how the last statement ended."""
    error: ErrorMessage = {"message": "The service is unavailable, try again.", "error_code": "service_unavailable"}
    return Answer(503, {"errors": [error]}, _RETRY_AFTER)
