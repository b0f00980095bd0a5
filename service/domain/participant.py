"""One user's part in a conversation, and what changes it (canvas/semantics.md 7.1 and 8, endpoints.md 4.5).

Messages of others change it too; they are written in bulk, so those rules are in sql/queries/deliveries.sql.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Literal, TypeAlias

from service.domain.errors import Code, Refusal

NO_TAGS = 0  # number of the empty tag list

Property: TypeAlias = Literal["last_author", "attachments", "media_objects"]


class State(StrEnum):
    """The three values of workflow_state. There is no deleted: a deleted view has no messages."""

    READ = "read"
    UNREAD = "unread"
    ARCHIVED = "archived"


def state_of(*, archived: bool, unread: bool) -> State:
    """The state of a stored row: the archive hides whether a conversation was read."""
    if archived:
        return State.ARCHIVED
    return State.UNREAD if unread else State.READ


def parse_state(value: str | None) -> State | None:
    """The state of that name, None when none was sent; Refusal(INVALID_RECORD) for anything else (shape C)."""
    if value is None:
        return None
    try:
        return State(value)
    except ValueError:
        kind = "inclusion" if value.strip() else "blank"
        raise Refusal(Code.INVALID_RECORD, kind, attribute="workflow_state", kind=kind) from None


@dataclass(frozen=True, slots=True)
class Participant:
    """What a participant row says, as far as its user can change it. ``tag_set`` is the number of a tag list."""

    conversation_id: int
    private: bool  # of the conversation
    state: State
    subscribed: bool
    starred: bool
    message_count: int
    last_message_at: datetime | None  # null: in no inbox scope
    visible_last_authored_at: datetime | None
    has_attachments: bool
    has_media_objects: bool
    tag_set: int


@dataclass(frozen=True, slots=True)
class Remains:
    """The human messages that a user still has of a conversation, at least one."""

    message_count: int
    newest: datetime
    oldest: datetime
    nearest: datetime | None  # the newest that is not later than the participant's last_message_at
    authored: datetime | None  # the newest of the user's own
    has_attachments: bool
    has_media_objects: bool
    tag_sets: Sequence[int]  # numbers of the tag lists of these messages, oldest message first


class Event(StrEnum):
    """What a batch update can do to every conversation (canvas/endpoints.md 4.11)."""

    MARK_AS_READ = "mark_as_read"
    MARK_AS_UNREAD = "mark_as_unread"
    STAR = "star"
    UNSTAR = "unstar"
    ARCHIVE = "archive"
    DESTROY = "destroy"


def emptied(participant: Participant) -> Participant:
    """After the last human message is gone; the archive, the subscription and the place among people stay."""
    return replace(
        participant,
        state=State.READ if participant.state is State.UNREAD else participant.state,
        starred=False,
        message_count=0,
        last_message_at=None,
        visible_last_authored_at=None,
        has_attachments=False,
        has_media_objects=False,
        tag_set=NO_TAGS,
    )


_MOVES: Mapping[Event, Callable[[Participant], Participant]] = {
    Event.MARK_AS_READ: lambda participant: replace(participant, state=State.READ),
    Event.MARK_AS_UNREAD: lambda participant: replace(participant, state=State.UNREAD),
    Event.STAR: lambda participant: replace(participant, starred=True),
    Event.UNSTAR: lambda participant: replace(participant, starred=False),
    Event.ARCHIVE: lambda participant: replace(participant, state=State.ARCHIVED),
    Event.DESTROY: emptied,
}


def moved(participant: Participant, event: Event) -> Participant:
    """After an event of a batch update. Each is done twice as well as once."""
    return _MOVES[event](participant)


def muted(participant: Participant) -> Participant:
    """After unsubscribing: an unread conversation counts as read, an archived one stays where it is."""
    if participant.private or not participant.subscribed:
        return participant
    return replace(
        participant, subscribed=False, state=State.READ if participant.state is State.UNREAD else participant.state
    )


def unmuted(participant: Participant, newest: datetime | None) -> Participant:
    """After subscribing again; ``newest`` is the time of the newest human message the user has.

    What came meanwhile makes it unread, even from the archive. A thread without an answer stays in no inbox.
    """
    if participant.private or participant.subscribed:
        return participant
    subscribed = replace(participant, subscribed=True)
    if participant.last_message_at is None or newest is None:
        return subscribed
    state = State.UNREAD if newest > participant.last_message_at else participant.state
    return replace(subscribed, last_message_at=newest, state=state)


def recounted(participant: Participant, remains: Remains | None, tag_set: int) -> Participant:
    """After some of its messages were deleted; None: no human message is left."""
    if remains is None:
        return emptied(participant)
    return replace(
        participant,
        message_count=remains.message_count,
        last_message_at=_last_message_at(participant, remains),
        visible_last_authored_at=remains.authored,
        has_attachments=remains.has_attachments,
        has_media_objects=remains.has_media_objects,
        tag_set=tag_set,
    )


def _last_message_at(participant: Participant, remains: Remains) -> datetime | None:
    if participant.last_message_at is None:
        return None
    if participant.subscribed:
        return remains.newest
    # Muted: what has come since shall not show, unless there is nothing else.
    return remains.nearest or remains.oldest


def restored(participant: Participant, remains: Remains | None, tag_set: int) -> Participant:
    """After a deleted message was given back: as after a deletion, and a thread that was gone is in the inbox again."""
    counted = recounted(participant, remains, tag_set)
    if remains is None or participant.last_message_at is not None:
        return counted
    return replace(counted, last_message_at=remains.newest)


def remaining_tags(old: Sequence[str], of_messages: Sequence[Sequence[str]], held: Collection[str]) -> tuple[str, ...]:
    """A participant's tags of a private conversation once only these messages are left.

    ``held`` are the codes that the user holds or held.
    A message is stored with the tags of both its readers. Those that never were this user's are not in ``old``; if
    none of ``old`` is left, what the messages say counts as far as the user has to do with it.
    """
    said = dict.fromkeys(tag for tags in of_messages for tag in tags)
    kept = tuple(tag for tag in old if tag in said)
    return kept or tuple(tag for tag in said if tag in held)


def properties(*, last_author: bool, attachments: bool, media_objects: bool) -> list[Property]:
    """The subset that holds, always in this order (canvas/endpoints.md 3.1)."""
    flags: dict[Property, bool] = {
        "last_author": last_author,
        "attachments": attachments,
        "media_objects": media_objects,
    }
    return [name for name, holds in flags.items() if holds]
