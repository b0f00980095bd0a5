"""From one row of the outbox to the events that it stands for, encoded (CONTRACT 4, canvas/events.md 1 and 2)."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from service.contracts.events import (
    BatchBody,
    BatchProgress,
    ConversationCreated,
    ConversationForwarded,
    MessageCreated,
)
from service.domain.dates import iso
from service.domain.event_metadata import Cause


class Encoded(NamedTuple):
    """An event as it goes over the wire; ``name`` is its routing key."""

    name: str
    message_id: str
    body: bytes
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class Told:
    """What all events of a row have in common."""

    event: str
    recorded_at: datetime
    cause: Cause


@dataclass(frozen=True, slots=True)
class Copies(Told):
    """Messages of one author and moment: pairs of (conversation, message), opened by it where the two are equal."""

    author_id: int
    created_at: datetime
    pairs: Sequence[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class OfBatch(Told):
    """A bulk send went on; ``body`` is what is told, to the key."""

    body: Mapping[str, str]


class FirstMessages(Sequence[tuple[int, int]]):
    """Conversations with ids in a row, each opened by the message of its own id; takes no room for them."""

    def __init__(self, first_id: int, copies: int) -> None:
        self._ids = range(first_id, first_id + copies)

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, index: Any) -> Any:
        found = self._ids[index]
        return (found, found) if isinstance(found, int) else [(each, each) for each in found]


def event_time(moment: datetime) -> str:
    """``2024-05-01T12:34:56.789Z``"""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def events_of(told: Copies | OfBatch) -> Iterator[Encoded]:
    """The events of a row, in their order, one at a time: a conversation is told of before its messages."""
    return _of_copies(told) if isinstance(told, Copies) else _of_batch(told)


def _metadata(told: Told, name: str) -> orjson.Fragment:
    """Encoded once for all events of that name."""
    return orjson.Fragment(
        orjson.dumps(
            {
                "event_name": name,
                "event_time": event_time(told.recorded_at),
                "producer": "canvas",
                **told.cause.metadata,
            }
        )
    )


def _of_copies(told: Copies) -> Iterator[Encoded]:
    created, message = ConversationCreated.name, MessageCreated.name
    of_created, of_message = _metadata(told, created), _metadata(told, message)
    author, at = str(told.author_id), iso(told.created_at)
    forwarded = told.event == "forwarded"
    for conversation_id, message_id in told.pairs:
        conversation = str(conversation_id)
        if forwarded:
            yield _forwarded(told, conversation, message_id, at)
        elif conversation_id == message_id:
            body = {"conversation_id": conversation, "updated_at": at}
            encoded = orjson.dumps({"metadata": of_created, "body": body})
            yield Encoded(created, f"{created}.{conversation}", encoded, told.cause.traceparent)
        number = str(message_id)
        content = {"author_id": author, "conversation_id": conversation, "created_at": at, "message_id": number}
        encoded = orjson.dumps({"metadata": of_message, "body": content})
        yield Encoded(message, f"{message}.{number}", encoded, told.cause.traceparent)


def _forwarded(told: Copies, conversation: str, message_id: int, at: str) -> Encoded:
    """Named by the message by which the people joined, since they may join the same conversation again and again."""
    name = ConversationForwarded.name
    body = {"conversation_id": conversation, "updated_at": at}
    encoded = orjson.dumps({"metadata": _metadata(told, name), "body": body})
    return Encoded(name, f"{name}.{message_id}", encoded, told.cause.traceparent)


def _of_batch(told: OfBatch) -> Iterator[Encoded]:
    body = BatchBody.model_validate(told.body)
    message_id = f"{told.event}.{body.batch_id}"
    if told.event == BatchProgress.name:
        message_id = f"{message_id}.{body.settled}"
    encoded = orjson.dumps({"metadata": _metadata(told, told.event), "body": dict(told.body)})
    yield Encoded(told.event, message_id, encoded, told.cause.traceparent)
