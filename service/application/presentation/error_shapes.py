"""The JSON of refusals (canvas/conventions.md 9), made in errors.py beside this."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypeAlias

from pydantic import ConfigDict, Field, with_config
from typing_extensions import TypedDict

from service.application.presentation.shapes import Id, Nothing, Time
from service.domain.errors import Code

_EXACT = ConfigDict(extra="forbid")


@with_config(_EXACT)
class InvalidAttribute(TypedDict):
    """A parameter and what is wrong with it."""

    attribute: str
    message: str


class FieldError(InvalidAttribute):
    """A field that cannot be stored."""

    type: str


@with_config(_EXACT)
class RecordErrors(TypedDict):
    """What cannot be stored, by field."""

    errors: dict[str, list[FieldError]]


@with_config(_EXACT)
class Sentence(TypedDict):
    """What is wrong, in words."""

    message: str


@with_config(_EXACT)
class ErrorMessage(TypedDict):
    """What is wrong, in words, and sometimes a little more."""

    message: str
    error_code: NotRequired[str]
    field: NotRequired[str]
    expired_at: NotRequired[Time]


@with_config(_EXACT)
class Errors(TypedDict):
    """What is wrong."""

    errors: list[ErrorMessage]
    error_report_id: NotRequired[Annotated[Id, Field(description="Of an error of ours; stands in the log")]]


@with_config(_EXACT)
class AccessError(TypedDict):
    """Who is not known, or not permitted."""

    status: Literal["unauthenticated", "unauthorized"]
    errors: list[Sentence]


@with_config(_EXACT)
class PageError(TypedDict):
    """A page that no link has led to."""

    status: Literal["bad_request"]
    errors: list[dict[Literal["page"], str]]


@with_config(_EXACT)
class MasqueradeError(TypedDict):
    """No user whom the caller may act as."""

    errors: str
    merged_into_user_id: NotRequired[Annotated[Id, Field(description="Who has what was that user's")]]


ErrorBody: TypeAlias = (
    list[InvalidAttribute] | RecordErrors | Sentence | Nothing | Errors | AccessError | PageError | MasqueradeError
)

SHAPES: Mapping[Code, Any] = {
    Code.INVALID_ATTRIBUTE: list[InvalidAttribute],
    Code.INVALID_RECORD: RecordErrors,
    Code.INVALID_BATCH_UPDATE: Sentence,
    Code.REPLY_REFUSED: list[InvalidAttribute],
    Code.NO_RECIPIENTS: Nothing,
    Code.BAD_REQUEST: Errors,
    Code.INVALID_PAGE: PageError,
    Code.TOO_LARGE: Errors,
    Code.UNSUPPORTED_ENCODING: Errors,
    Code.NOT_FOUND: Errors,
    Code.NOT_AUTHORISED: AccessError,
    Code.UNAUTHENTICATED: AccessError,
    Code.BAD_TOKEN: Errors,
    Code.INSUFFICIENT_SCOPE: Errors,
    Code.BAD_AS_USER: MasqueradeError,
    Code.CONFLICT: Errors,
    Code.NOT_IN_THIS_STATE: list[InvalidAttribute],
    Code.UNPROCESSABLE: Errors,
}
