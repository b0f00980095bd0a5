"""What a message may be: kinds of send and the limits of stored text (endpoints.md 4.2, semantics.md 5)."""

from enum import StrEnum, auto

from service.domain.errors import Code, Refusal

MAX_SUBJECT = 255  # characters
MAX_BODY = 65_535  # characters


class Kind(StrEnum):
    """The rows of the table in canvas/endpoints.md 4.2; a monologue is a PRIVATE to oneself."""

    PRIVATE = auto()  # one private conversation, reused
    BULK_PRIVATE = auto()  # one per recipient, each reused
    GROUP = auto()  # one new conversation with everybody
    BULK_SEPARATE = auto()  # one new non-private conversation per recipient


def kind_of(*, group: bool, bulk: bool, force_new: bool, recipients: int) -> Kind:
    """Which conversations a create makes."""
    if force_new or (group and bulk):
        return Kind.BULK_SEPARATE
    if group:
        return Kind.GROUP
    return Kind.PRIVATE if recipients == 1 else Kind.BULK_PRIVATE


def check_record(subject: str | None, body: str) -> None:
    """Refuses text that is too long to store: shape C of endpoints.md 2.1."""
    for attribute, text, limit in (("subject", subject or "", MAX_SUBJECT), ("body", body, MAX_BODY)):
        if len(text) > limit:
            raise Refusal(Code.INVALID_RECORD, "too_long", attribute=attribute, kind="too_long")
