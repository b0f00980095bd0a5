"""Events: what happened, in the form of Canvas Live Events (CONTRACT 4, canvas/events.md 1 and 2).

Ids are strings: local ones in the body, global ones in the metadata (canvas/events.md 1.2).
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

# Of the bodies below, which are in Canvas's form and have no place for it: it goes along in a header.
VERSION = 1
VERSION_HEADER = "contract-version"

# Of one message on the exchange of sets, whose header says how many events it has.
MAX_SET_EVENTS = 500
MAX_SET_BYTES = 256_000
COUNT_HEADER = "count"

Digits = Annotated[str, StringConstraints(pattern=r"^[0-9]+$")]
Moment = Annotated[datetime, Field(description="ISO 8601, UTC.")]


def milliseconds(moment: datetime) -> int:
    """Since 1970, whole ones as event times have them."""
    return int(moment.timestamp()) * 1000 + moment.microsecond // 1000


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Metadata(_Part):
    """Who or what caused the event (canvas/events.md 1.1). A key without a value is absent."""

    event_name: str
    event_time: Moment
    producer: Literal["canvas"]
    root_account_id: Digits
    root_account_uuid: str | None = None

    user_id: Digits | None = Field(None, description="Of the user for whom the request was done.")
    real_user_id: Digits | None = Field(None, description="Who really asked, acting as the user.")
    user_login: str | None = None
    user_sis_id: str | None = None
    user_account_id: Digits | None = None
    context_type: Literal["User"] | None = None
    context_id: Digits | None = None
    user_agent: str | None = None
    client_ip: str | None = None
    hostname: str | None = None
    http_method: str | None = None
    url: str | None = Field(None, description="Without the access token, should the request have it there.")
    referrer: str | None = None
    request_id: str | None = Field(None, description="The X-Request-Context-Id of the answer.")

    job_id: str | None = Field(None, description="Message id of the command that a worker carried out.")
    job_tag: str | None = Field(None, description="Name of that command.")

    batch_id: Digits | None = Field(None, description="Of the bulk send of which the message is a copy.")
    recipient_id: Digits | None = Field(None, description="Of the user for whom that copy is.")

    message_id: str | None = Field(None, description="The same whenever the event comes again; as the message's own.")


class ConversationBody(_Part):
    """Of conversation_created and conversation_forwarded."""

    conversation_id: Digits
    updated_at: Moment


class MessageBody(_Part):
    """Of conversation_message_created."""

    author_id: Digits
    conversation_id: Digits
    created_at: Moment
    message_id: Digits


class BatchBody(_Part):
    """Of the events of a bulk send; the counts are of recipients, as strings."""

    batch_id: Digits
    state: Literal["scheduled", "created", "sending", "paused", "sent", "cancelled", "error"]
    total: Digits
    delivered: Digits
    failed: Digits
    skipped: Digits

    @property
    def settled(self) -> int:
        """Recipients of whom it is known what became of them."""
        return int(self.delivered) + int(self.failed) + int(self.skipped)


class Event(_Part):
    """What every event has. ``name`` is its routing key; ``message_id`` is the same whenever the event comes again."""

    name: ClassVar[str]

    metadata: Metadata


class ConversationCreated(Event):
    """A conversation was opened: private, group, or one of a bulk send."""

    name = "conversation_created"
    body: ConversationBody

    @property
    def message_id(self) -> str:
        """``conversation_created.5``"""
        return f"{self.name}.{self.body.conversation_id}"


class MessageCreated(Event):
    """A message stands in a conversation, a generated one as well; once for each copy of a bulk send."""

    name = "conversation_message_created"
    body: MessageBody

    @property
    def message_id(self) -> str:
        """``conversation_message_created.17``"""
        return f"{self.name}.{self.body.message_id}"


class ConversationForwarded(Event):
    """People who were not in it joined a conversation. The event of the message by which they joined follows."""

    name = "conversation_forwarded"
    body: ConversationBody


class BatchEvent(Event):
    """What the events of a bulk send have; their message ids: batch_message_id."""

    body: BatchBody


class BatchScheduled(BatchEvent):
    """A bulk send was accepted for later, or was given another time."""

    name = "batch_scheduled"

    @property
    def message_id(self) -> str:
        """``batch_scheduled.7.1764381600000``: when, in milliseconds, because it may come for one batch again."""
        return f"{self.name}.{self.body.batch_id}.{milliseconds(self.metadata.event_time)}"


class BatchStarted(BatchEvent):
    """The first recipients of a bulk send are settled. Once for a batch, also when what failed in it is tried again."""

    name = "batch_started"


class BatchProgress(BatchEvent):
    """More recipients of a bulk send are settled."""

    name = "batch_progress"


class BatchPaused(BatchEvent):
    """A bulk send was paused: no further delivery begins."""

    name = "batch_paused"


class BatchResumed(BatchEvent):
    """A bulk send goes on: it was paused, or had ended and is tried again for those who failed."""

    name = "batch_resumed"


class BatchFinished(BatchEvent):
    """A bulk send came to its end, or was cancelled and all are settled."""

    name = "batch_finished"


class BatchFailed(BatchEvent):
    """A bulk send came to its end, and some recipients do not have it."""

    name = "batch_failed"


AnyEvent = (
    ConversationCreated
    | MessageCreated
    | ConversationForwarded
    | BatchScheduled
    | BatchStarted
    | BatchProgress
    | BatchPaused
    | BatchResumed
    | BatchFinished
    | BatchFailed
)

# By routing key.
EVENTS: Mapping[str, type[AnyEvent]] = MappingProxyType(
    {
        event.name: event
        for event in (
            ConversationCreated,
            MessageCreated,
            ConversationForwarded,
            BatchScheduled,
            BatchStarted,
            BatchProgress,
            BatchPaused,
            BatchResumed,
            BatchFinished,
            BatchFailed,
        )
    }
)


def batch_message_id(name: str, body: BatchBody, moves: int) -> str:
    """``batch_started.7``, or ``batch_progress.7.2000`` after so many settled recipients.

    ``moves``: how often the bulk send had been paused, resumed, cancelled or tried again by then. From the first time
    on that stands behind, as in ``batch_paused.7.1``, because the same may happen again.
    """
    settled = [str(body.settled)] if name == BatchProgress.name else []
    return ".".join([name, body.batch_id, *settled, *([str(moves)] if moves else [])])


def parse_event(routing_key: str, body: bytes) -> AnyEvent:
    """An event from its wire form. KeyError for an unknown name, pydantic.ValidationError for another form."""
    return EVENTS[routing_key].model_validate_json(body)
