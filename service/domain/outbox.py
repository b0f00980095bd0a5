"""From one row of the outbox to the events that it stands for, encoded (CONTRACT 4, canvas/events.md 1 and 2)."""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from service.contracts.events import (
    BatchBody,
    BatchScheduled,
    ConversationCreated,
    ConversationForwarded,
    MessageCreated,
    batch_message_id,
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

    def counts(self) -> Counter[str]:
        """How many events of which name the row stands for; none is made for that."""
        counts = Counter({MessageCreated.name: len(self.pairs)})
        if self.event == "forwarded":
            counts[ConversationForwarded.name] = len(self.pairs)
        elif isinstance(self.pairs, FirstMessages):
            counts[ConversationCreated.name] = len(self.pairs)
        else:
            counts[ConversationCreated.name] = sum(conversation == message for conversation, message in self.pairs)
        return +counts

    def events(self, unwanted: Container[str] = ()) -> Iterator[Encoded]:
        """The events of the row, in their order, one at a time: the conversation's before those of its messages.

        ``unwanted``: names of events that are left out. It may grow meanwhile.
        """
        return _of_messages(self, unwanted)


@dataclass(frozen=True, slots=True)
class BatchEventRow(OutboxRow):
    """A bulk send went on; ``body``: the event's, to the key. ``moves``: how often it had been moved by then."""

    body: Mapping[str, str]
    moves: int = 0

    def counts(self) -> Counter[str]:
        """The one event that the row stands for."""
        return Counter([self.event])

    def events(self, unwanted: Container[str] = ()) -> Iterator[Encoded]:
        """That event, unless its name is ``unwanted``."""
        return _of_batch(self, unwanted)


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


def _metadata(row: OutboxRow, name: str, **more: str) -> bytes:
    """The metadata object up to what differs from event to event, which has to follow."""
    values = {
        "event_name": name,
        "event_time": event_time(row.recorded_at),
        "producer": "canvas",
        **row.cause.metadata,
        **more,
    }
    return orjson.dumps(values)[:-1]


def _to_format(text: bytes) -> bytes:
    """Text that stands as it is in bytes that are to be formatted."""
    return text.replace(b"%", b"%%")


def _of_conversations(row: MessagesRow, name: str) -> bytes:
    """To be formatted with what names the event, and the conversation."""
    body = b'"conversation_id":"%%d","updated_at":"%b"' % iso(row.created_at).encode()
    metadata = b'%b,"message_id":"%b.%%d"' % (_to_format(_metadata(row, name)), name.encode())
    return b'{"metadata":%b},"body":{%b}}' % (metadata, body)


def _of_each_message(row: MessagesRow) -> bytes:
    """To be formatted with the message, the conversation and the message; before them the recipient, where known."""
    name, copies, more, recipient = MessageCreated.name, row.copies, {}, b""
    if copies is not None:
        more = {"batch_id": str(_shard(row) + copies.batch_id)}
        recipient = b',"recipient_id":"%d"' if copies.recipients else b""
    metadata = b'%b%b,"message_id":"%b.%%d"' % (_to_format(_metadata(row, name, **more)), recipient, name.encode())
    body = b'"author_id":"%d","conversation_id":"%%d","created_at":"%b","message_id":"%%d"' % (
        row.author_id,
        iso(row.created_at).encode(),
    )
    return b'{"metadata":%b},"body":{%b}}' % (metadata, body)


def _shard(row: MessagesRow) -> int:
    """What the global ids of the row's installation begin with."""
    return int(row.cause.metadata["root_account_id"]) // SHARD_SIZE * SHARD_SIZE


def _of_messages(row: MessagesRow, unwanted: Container[str]) -> Iterator[Encoded]:
    opening = ConversationForwarded.name if row.event == "forwarded" else ConversationCreated.name
    message, trace = MessageCreated.name, row.cause.traceparent
    of_conversation, of_message = _of_conversations(row, opening), _of_each_message(row)
    first_id, recipients = (row.copies.first_id, row.copies.recipients) if row.copies else (0, ())
    base = _shard(row) if recipients else 0
    for conversation_id, message_id in row.pairs:
        # People may join the same conversation again and again: the message by which they do names the event.
        if (opening == ConversationForwarded.name or conversation_id == message_id) and opening not in unwanted:
            yield Encoded(opening, f"{opening}.{message_id}", of_conversation % (message_id, conversation_id), trace)
        if message not in unwanted:
            ids: tuple[int, ...] = (message_id, conversation_id, message_id)
            if recipients:
                ids = (base + recipients[message_id - first_id], *ids)
            yield Encoded(message, f"{message}.{message_id}", of_message % ids, trace)


def _of_batch(row: BatchEventRow, unwanted: Container[str]) -> Iterator[Encoded]:
    if row.event in unwanted:
        return
    body = BatchBody.model_validate(row.body)
    message_id = batch_message_id(row.event, body, row.moves)
    if row.event == BatchScheduled.name:
        message_id = f"{row.event}.{body.batch_id}.{milliseconds(row.recorded_at)}"
    metadata = b'%b,"message_id":"%b"' % (_metadata(row, row.event), message_id.encode())
    encoded = b'{"metadata":%b},"body":%b}' % (metadata, orjson.dumps(dict(row.body)))
    yield Encoded(row.event, message_id, encoded, row.cause.traceparent)
