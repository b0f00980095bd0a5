"""Refusals: what a caller did wrong, as values with a code.

service/application/presentation/errors.py gives each code its status and Canvas's body.
"""

from datetime import datetime
from enum import StrEnum
from typing import TypedDict


class Code(StrEnum):
    """Why a request was refused."""

    INVALID_ATTRIBUTE = "invalid_attribute"  # a parameter breaks a rule of the action
    INVALID_RECORD = "invalid_record"  # a stored field breaks its limits
    INVALID_BATCH_UPDATE = "invalid_batch_update"
    REPLY_REFUSED = "reply_refused"  # the two checks of add_message that Canvas answers with 401
    NO_RECIPIENTS = "no_recipients"  # add_recipients without anyone to add
    BAD_REQUEST = "bad_request"  # the request cannot be read at all
    INVALID_PAGE = "invalid_page"  # a page parameter of a bookmark list that no link has led to
    TOO_LARGE = "too_large"
    UNSUPPORTED_ENCODING = "unsupported_encoding"  # of a body
    NOT_FOUND = "not_found"
    NOT_AUTHORISED = "not_authorised"
    UNAUTHENTICATED = "unauthenticated"  # no credentials
    BAD_TOKEN = "bad_token"  # noqa: S105 - a code, not a secret
    INSUFFICIENT_SCOPE = "insufficient_scope"
    BAD_AS_USER = "bad_as_user"
    CONFLICT = "conflict"
    NOT_IN_THIS_STATE = "not_in_this_state"  # a move that the state of a batch does not allow
    UNPROCESSABLE = "unprocessable"


class Details(TypedDict, total=False):
    """Further keys of an error object."""

    expired_at: datetime
    field: str
    error_code: str


class Refusal(Exception):
    """A request that will be refused the same way however often it is repeated."""

    def __init__(
        self,
        code: Code,
        message: str = "",
        *,
        attribute: str = "",
        kind: str = "",
        details: Details | None = None,
        merged_into_user_id: int | None = None,
    ) -> None:
        super().__init__(message or code)
        self.code = code
        self.message = message
        self.attribute = attribute
        self.kind = kind  # INVALID_RECORD: the symbolic type, e.g. too_long
        self.details: Details = details or {}
        self.merged_into_user_id = merged_into_user_id  # BAD_AS_USER: who has what was that user's


def invalid(attribute: str, message: str) -> Refusal:
    """Shape A of canvas/endpoints.md 2.1."""
    return Refusal(Code.INVALID_ATTRIBUTE, message, attribute=attribute)


def unreadable(message: str) -> Refusal:
    """The request breaks the rules of its own encoding, or a bound of ours: 400 in shape D."""
    return Refusal(Code.BAD_REQUEST, message)
