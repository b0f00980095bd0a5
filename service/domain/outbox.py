"""From one row of the outbox to the events that it stands for, encoded (CONTRACT 4, canvas/events.md 1 and 2)."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from service.contracts.events import (
    BatchBody,
    BatchProgress,
    BatchScheduled,
    ConversationCreated,
    ConversationForwarded,
    MessageCreated,
    milliseconds,
)
from service.domain.dates import iso
from service.domain.event_metadata import Cause
from service.domain.ids import SHARD_SIZE


class Encoded(NamedTuple):
    """An event as it goes over the wire; ``name`` is its routing key."""

    name: str
    message_id: str
    body: bytes
    traceparent: str | None


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """What all events of a row have in common."""

    event: str
    recorded_at: datetime
    cause: Cause


@dataclass(frozen=True, slots=True)
class BulkCopies:
    """A chunk of a bulk send: recipient i has the message ``first_id + i``. Without recipients, the chunk is gone."""

    batch_id: int
    first_id: int
    recipients: Sequence[int]


@dataclass(frozen=True, slots=True)
class MessagesRow(OutboxRow):
    """Messages of one author and moment: pairs of (conversation, message), opened by it where the two are equal.

    ``copies``: of which bulk send they are, if of any.
    """

    author_id: int
    created_at: datetime
    pairs: Sequence[tuple[int, int]]
    copies: BulkCopies | None = None


@dataclass(frozen=True, slots=True)
class BatchEventRow(OutboxRow):
    """A bulk send went on; ``body``: the event's, to the key."""

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


def events_of(row: MessagesRow | BatchEventRow) -> Iterator[Encoded]:
    """The events of a row, in their order, one at a time: the conversation's before those of its messages."""
    return _of_messages(row) if isinstance(row, MessagesRow) else _of_batch(row)


def _metadata(row: OutboxRow, name: str) -> orjson.Fragment:
    """Encoded once for all events of that name."""
    return orjson.Fragment(orjson.dumps(_metadata_values(row, name)))


def _metadata_values(row: OutboxRow, name: str) -> dict[str, str]:
    return {
        "event_name": name,
        "event_time": event_time(row.recorded_at),
        "producer": "canvas",
        **row.cause.metadata,
    }


def _metadata_of_messages(row: MessagesRow) -> Callable[[int], orjson.Fragment]:
    """By message id: all the same, but for the recipient where each is the copy of one."""
    values, copies = _metadata_values(row, MessageCreated.name), row.copies
    if copies is not None:
        base = int(row.cause.metadata["root_account_id"]) // SHARD_SIZE * SHARD_SIZE
        values["batch_id"] = str(base + copies.batch_id)
    encoded = orjson.dumps(values)
    if copies is None or not copies.recipients:
        common = orjson.Fragment(encoded)
        return lambda _message_id: common
    head, first_id, recipients = encoded[:-1], copies.first_id, copies.recipients
    return lambda message_id: orjson.Fragment(
        b'%b,"recipient_id":"%d"}' % (head, base + recipients[message_id - first_id])
    )


def _of_messages(row: MessagesRow) -> Iterator[Encoded]:
    created, message = ConversationCreated.name, MessageCreated.name
    of_created, of_message = _metadata(row, created), _metadata_of_messages(row)
    author, at = str(row.author_id), iso(row.created_at)
    forwarded = row.event == "forwarded"
    for conversation_id, message_id in row.pairs:
        conversation = str(conversation_id)
        if forwarded:
            yield _forwarded(row, conversation, message_id, at)
        elif conversation_id == message_id:
            body = {"conversation_id": conversation, "updated_at": at}
            encoded = orjson.dumps({"metadata": of_created, "body": body})
            yield Encoded(created, f"{created}.{conversation}", encoded, row.cause.traceparent)
        number = str(message_id)
        content = {"author_id": author, "conversation_id": conversation, "created_at": at, "message_id": number}
        encoded = orjson.dumps({"metadata": of_message(message_id), "body": content})
        yield Encoded(message, f"{message}.{number}", encoded, row.cause.traceparent)


def _forwarded(row: MessagesRow, conversation: str, message_id: int, at: str) -> Encoded:
    """Named by the message by which the people joined, since they may join the same conversation again and again."""
    name = ConversationForwarded.name
    body = {"conversation_id": conversation, "updated_at": at}
    encoded = orjson.dumps({"metadata": _metadata(row, name), "body": body})
    return Encoded(name, f"{name}.{message_id}", encoded, row.cause.traceparent)


def _of_batch(row: BatchEventRow) -> Iterator[Encoded]:
    body = BatchBody.model_validate(row.body)
    message_id = f"{row.event}.{body.batch_id}"
    if row.event == BatchProgress.name:
        message_id = f"{message_id}.{body.settled}"
    if row.event == BatchScheduled.name:
        message_id = f"{message_id}.{milliseconds(row.recorded_at)}"
    encoded = orjson.dumps({"metadata": _metadata(row, row.event), "body": dict(row.body)})
    yield Encoded(row.event, message_id, encoded, row.cause.traceparent)
