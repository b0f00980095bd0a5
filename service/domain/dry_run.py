"""Which of the recipients that a request names would not get it, and why (CONTRACT 3.2, ``rejected``)."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.domain.contexts import Context
from service.domain.ids import as_if_local
from service.domain.recipients import Audience, Uuid, parse_one

MOST_SHOWN = 1_000  # rejected recipients in one answer


class Reason(StrEnum):
    """Why a recipient is rejected."""

    UNKNOWN = "unknown"
    NOT_REACHABLE = "not_reachable"
    DELETED = "deleted"
    YOURSELF = "yourself"
    MALFORMED = "malformed"


@dataclass(frozen=True, slots=True)
class Rejected:
    """``recipient``: the text as it was sent."""

    recipient: str
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is known of all that a request names.

    ``users``, ``contexts``: whether each is deleted; what is unknown is missing. ``users`` may lack recipients.
    ``uuids``: ids of the users who have them. ``recipients``: who would get it. ``reached``: audiences with anybody in
    them for the sender.
    """

    sender_id: int
    recipients: Collection[int]
    users: Mapping[int, bool]
    uuids: Mapping[str, int]
    contexts: Mapping[Context, bool]
    reached: Collection[Audience]


def rejections(items: Iterable[tuple[str, str]], findings: Findings) -> list[Rejected]:
    """Each recipient that brings nobody, once; ``items``: texts as sent, and the same with local ids."""
    seen: dict[str, Rejected] = {}
    for sent, local in _parts(items):
        if sent not in seen and (reason := _reason(local, findings)):
            seen[sent] = Rejected(sent, reason)
    return list(seen.values())


def _parts(items: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Each may be a list with commas."""
    for sent, local in items:
        if "," in sent:
            yield from zip(sent.split(","), local.split(","), strict=True)
        else:
            yield sent, local


def _reason(text: str, findings: Findings) -> Reason | None:
    match parse_one(text):
        case None:
            elsewhere = as_if_local(text)
            named = elsewhere is not None and parse_one(elsewhere) is not None
            return Reason.UNKNOWN if named else Reason.MALFORMED
        case Audience() as audience:
            return _of_audience(audience, findings)
        case Uuid(value):
            user_id = findings.uuids.get(value)
            return Reason.UNKNOWN if user_id is None else _of_user(user_id, findings)
        case user_id:
            return _of_user(user_id, findings)


def _of_user(user_id: int, findings: Findings) -> Reason | None:
    if user_id in findings.recipients:
        return None
    if user_id == findings.sender_id:
        return Reason.YOURSELF
    return _standing(findings.users.get(user_id))


def _of_audience(audience: Audience, findings: Findings) -> Reason | None:
    if audience in findings.reached:
        return None
    if audience.types is not None and not audience.types:
        return Reason.MALFORMED  # no role is called that
    return _standing(findings.contexts.get(audience.context))


def _standing(deleted: bool | None) -> Reason:
    if deleted is None:
        return Reason.UNKNOWN
    return Reason.DELETED if deleted else Reason.NOT_REACHABLE
