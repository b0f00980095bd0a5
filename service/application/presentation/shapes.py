"""The JSON that answers hold (canvas/endpoints.md 3; errors: error_shapes.py): what presenters return, and what the
OpenAPI document is made of.

A key under ``NotRequired`` is absent from some answers; one that is always there and may say nothing is null. Ids are
numbers and times are datetimes until service/domain/string_ids.py and the encoder have seen them.
"""

from datetime import datetime
from typing import Annotated, Any, Literal, NotRequired

from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypeAliasType, TypedDict

from service.domain.batch import BatchState
from service.domain.batch_recipients import RecipientState
from service.domain.batch_updates import ProgressState
from service.domain.dry_run import Reason
from service.domain.messages import Kind
from service.domain.participant import Property, State

_EXACT = ConfigDict(extra="forbid")


def _schema(**schema: Any) -> Any:
    return WithJsonSchema(schema)


Id = TypeAliasType(
    "Id",
    Annotated[
        int,
        _schema(
            anyOf=[{"type": "integer", "format": "int64"}, {"type": "string", "pattern": r"^\d+$"}],
            description="A number; with the header `Accept: application/json+canvas-string-ids` a string.",
        ),
    ],
)
Time = TypeAliasType(
    "Time", Annotated[datetime, _schema(type="string", format="date-time", description="ISO 8601, UTC, whole seconds.")]
)


# Written as calls, because "content-type" can be no name in a class.
MediaComment = TypedDict(
    "MediaComment",
    {
        "content-type": Annotated[str, Field(description="audio/mp4 or video/mp4")],
        "display_name": str | None,
        "media_id": Annotated[str, Field(description="Of the recording, as the media server names it")],
        "media_type": Literal["audio", "video"],
        "url": str,
    },
)
MediaComment.__doc__ = "A recording that belongs to a message."
with_config(_EXACT)(MediaComment)

Attachment = TypedDict(
    "Attachment",
    {
        "id": Annotated[Id, Field(description="Of the file")],
        "uuid": NotRequired[
            Annotated[str | None, Field(description="Absent from what another user wrote and is forwarded")]
        ],
        "folder_id": Annotated[Id | None, Field(description="Of the folder that holds it")],
        "display_name": str | None,
        "filename": str | None,
        "upload_status": Literal["success"],
        "content-type": str | None,
        "url": str,
        "size": int | None,
        "created_at": Time | None,
        "updated_at": Time | None,
        "unlock_at": Time | None,
        "locked": bool,
        "hidden": bool,
        "lock_at": Time | None,
        "hidden_for_user": bool,
        "thumbnail_url": str | None,
        "modified_at": Time | None,
        "mime_class": str,
        "media_entry_id": Annotated[Id | None, Field(description="Of the recording, if it is one")],
        "category": str,
        "locked_for_user": bool,
    },
)
Attachment.__doc__ = "A file that belongs to a message."
with_config(_EXACT)(Attachment)


@with_config(_EXACT)
class Message(TypedDict):
    """A message of a conversation."""

    id: Annotated[Id, Field(description="Of the message; 0 as long as it is queued")]
    created_at: Time
    body: Annotated[str, Field(description="As it was written; nothing is escaped")]
    author_id: Annotated[Id, Field(description="Of the user who wrote it")]
    generated: Annotated[bool, Field(description="Whether the service wrote it, e.g. that a user was added")]
    media_comment: MediaComment | None
    forwarded_messages: Annotated[list["Message"], Field(description="Newest first; they may forward others")]
    attachments: list[Attachment]
    participating_user_ids: Annotated[list[Id], Field(description="Everybody to whom the message went")]
    display_from: NotRequired[str]


class DeletedMessage(Message):
    """A message that a user deleted from their own view."""

    deleted_at: Time
    user_id: Annotated[Id, Field(description="Of the user who deleted it")]
    conversation_id: Annotated[Id, Field(description="Of the conversation that it belongs to")]


@with_config(_EXACT)
class CommonContexts(TypedDict):
    """Courses and groups by their ids, with enrolment types or `Member`."""

    courses: dict[str, list[str]]
    groups: dict[str, list[str]]


@with_config(_EXACT)
class Participant(TypedDict):
    """A user who takes part in a conversation, or whose message is forwarded in it."""

    id: Annotated[Id, Field(description="Of the user")]
    name: Annotated[str | None, Field(description="The short name")]
    full_name: str | None
    pronouns: str | None
    uuid: NotRequired[Annotated[str | None, Field(description="With `include[]=uuid`")]]
    common_courses: NotRequired[Annotated[dict[str, list[str]], Field(description="Shared with the caller")]]
    common_groups: NotRequired[Annotated[dict[str, list[str]], Field(description="Shared with the caller")]]
    avatar_url: NotRequired[str | None]


@with_config(_EXACT)
class Conversation(TypedDict):
    """A conversation as the caller sees it."""

    id: Annotated[Id, Field(description="Of the conversation")]
    subject: str | None
    workflow_state: Annotated[State, Field(description="The caller's own")]
    last_message: Annotated[str | None, Field(description="The beginning of the newest message the caller still has")]
    last_message_at: Time | None
    last_authored_message: Annotated[str | None, Field(description="The beginning of the caller's own newest message")]
    last_authored_message_at: Time | None
    message_count: int
    subscribed: Annotated[bool, Field(description="Whether new messages make it unread")]
    private: Annotated[bool, Field(description="Whether it is the one thread between its participants")]
    starred: bool
    properties: list[Property]
    audience: Annotated[list[Id], Field(description="Participants but the caller; who wrote last comes first")]
    audience_contexts: Annotated[CommonContexts, Field(description="Where the caller meets the audience")]
    avatar_url: str | None
    participants: list[Participant]
    visible: Annotated[bool, Field(description="Whether the list with this scope and these filters holds it")]
    context_code: Annotated[str | None, Field(description="course_N, group_N or account_N")]
    context_name: NotRequired[str | None]
    messages: NotRequired[Annotated[list[Message], Field(description="Newest first")]]
    submissions: NotRequired[Annotated[list[Any], Field(description="Always empty", max_length=0)]]
    cannot_reply: NotRequired[Annotated[Literal[True], Field(description="Only there when the caller may not reply")]]
    beta: NotRequired[bool]


@with_config(_EXACT)
class ConversationsWithIds(TypedDict):
    """A page of conversations and the ids of all pages."""

    conversations: list[Conversation]
    conversation_ids: Annotated[list[Id], Field(description="Of the conversations of all pages")]


@with_config(_EXACT)
class User(TypedDict):
    """Who the caller is; of a caller who is not (yet) in the directory only the id is known."""

    id: Annotated[Id, Field(description="Of the user")]
    name: str
    created_at: Time | None
    sortable_name: str
    short_name: str
    sis_user_id: Annotated[str | None, Field(description="Of the user in the student information system")]
    login_id: Annotated[str | None, Field(description="The name the user signs in with")]
    avatar_url: str | None
    pronouns: str | None
    account_admin: NotRequired[
        Annotated[bool, Field(description="With `include[]=account_admin`: whether the user is that of any account")]
    ]


@with_config(_EXACT)
class UnreadCount(TypedDict):
    """How many conversations are unread."""

    unread_count: Annotated[str, Field(pattern=r"^\d+$", description="A number, as text")]


@with_config(_EXACT)
class Nothing(TypedDict):
    """An empty object."""


@with_config(_EXACT)
class Batch(TypedDict):
    """A bulk send."""

    id: Annotated[Id, Field(description="Of the batch, that is, of the bulk send")]
    workflow_state: BatchState
    completion: Annotated[float, Field(ge=0, le=1)]
    recipient_count: int
    message: Message
    tags: list[str]


class BatchProgress(Batch):
    """A bulk send and how far it has come."""

    state: Annotated[BatchState, Field(description="The same as workflow_state")]
    total: int
    delivered: int
    failed: int
    skipped: int
    created_at: Time
    started_at: Time | None
    finished_at: Time | None
    send_at: Annotated[Time | None, Field(description="When it starts, or was to start; null: it was never scheduled")]
    error: Annotated[str | None, Field(description="Why the batch as a whole ended in error")]
    eta: Annotated[Time | None, Field(description="When the last recipient will be reached at the present rate")]
    recipients_per_second: Annotated[
        float | None, Field(description="In the last seconds, of its work if it has ended; null before the first")
    ]


@with_config(_EXACT)
class BatchRecipient(TypedDict):
    """What became of one recipient of a bulk send."""

    user_id: Annotated[Id, Field(description="Of the recipient")]
    state: RecipientState
    conversation_id: Annotated[Id | None, Field(description="Of the conversation the message went to, once delivered")]
    message_id: Annotated[Id | None, Field(description="Of the recipient's copy, once delivered")]
    error: Annotated[
        str | None,
        Field(
            description="Why not: cancelled, user_deleted, no_longer_reachable, sender_not_allowed, or"
            " `delivery_failed: ` and a text"
        ),
    ]
    updated_at: Time


@with_config(_EXACT)
class BatchEvent(TypedDict):
    """An event of the stream of a batch."""

    event: Annotated[Literal["progress", "finished"], Field(description="`finished` is the last one")]
    id: Annotated[str, Field(description="Of the state that the event shows: the same as long as the batch is")]
    data: Annotated[str, Field(description="JSON: the object of `GET /api/v1/conversations/batches/{id}`")]


@with_config(_EXACT)
class RejectedRecipient(TypedDict):
    """One who would not get the message."""

    recipient: Annotated[str, Field(description="As it was sent")]
    reason: Reason


@with_config(_EXACT)
class DryRun(TypedDict):
    """What a send would do."""

    dry_run: Literal[True]
    mode: Literal["sync", "async"]
    kind: Kind
    total: Annotated[int, Field(description="Recipients that it would reach")]
    new_conversations: int
    reused_conversations: int
    limit: Annotated[int | None, Field(description="Most recipients of this kind of message; null: there is no limit")]
    rejected: Annotated[list[RejectedRecipient], Field(max_length=1000)]
    rejected_count: Annotated[int, Field(description="Of all that are rejected, shown or not")]


@with_config(_EXACT)
class Progress(TypedDict):
    """Work that goes on after the answer."""

    id: Annotated[Id, Field(description="Of the progress")]
    context_id: Annotated[Id, Field(description="Of the user who started it")]
    context_type: Literal["User"]
    user_id: Annotated[Id, Field(description="Of the user who started it")]
    tag: str
    completion: Annotated[float | None, Field(ge=0, le=100, description="Percent")]
    workflow_state: ProgressState
    created_at: Time
    updated_at: Time
    message: str | None
    url: str


@with_config(_EXACT)
class RecipientContext(TypedDict):
    """A context to write to, or to look into."""

    id: Annotated[str, Field(description="Its code, as recipients take it; of the parts of a course not a recipient")]
    name: str | None
    type: Literal["context"]
    avatar_url: NotRequired[str | None]
    user_count: NotRequired[int]
    item_count: NotRequired[Annotated[int, Field(description="Of the parts of a course, in place of user_count")]]
    permissions: NotRequired[Annotated[dict[str, Literal[True]], Field(description="Of those asked for")]]
    context_name: NotRequired[Annotated[str | None, Field(description="The course of a section or group")]]


@with_config(_EXACT)
class Health(TypedDict):
    """Whether the service is of use."""

    status: Literal["ok", "degraded", "unavailable"]
    failing: NotRequired[list[Literal["database", "schema", "draining"]]]
    degraded: NotRequired[list[Literal["broker", "topology", "replica"]]]
    missing: NotRequired[list[str]]
    broker: NotRequired[str]
    topology: NotRequired[list[str]]
    replica: NotRequired[str]
