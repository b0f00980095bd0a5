"""One message of every kind, as AsyncAPI shows it and as the golden files of the tests hold it.

Directory events carry every key that is understood. Ids are global where Canvas sends them so (canvas/events.md 1.2).
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

from service.contracts.commands import AnyCommand, DeliverChunk, DeliverReply, PlanBatch, UpdateConversations
from service.contracts.directory import BODIES, VERSION
from service.contracts.events import milliseconds

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

HAPPENED = "2026-05-01T12:34:56.789Z"
WRITTEN = "2026-05-01T12:34:56Z"
CONVERSATION, MESSAGE = 4000, 6001
_ACCOUNT = {"root_account_id": "10000000000001", "root_account_uuid": "a-1"}

# Metadata that events have in common, by what caused them.
OF_REQUEST: Mapping[str, str] = MappingProxyType(
    {
        **_ACCOUNT,
        "user_id": "10000000000042",
        "real_user_id": "10000000000002",
        "user_login": "ana",
        "user_sis_id": "S-42",
        "user_account_id": "10000000000001",
        "context_type": "User",
        "context_id": "10000000000042",
        "user_agent": "curl",
        "client_ip": "192.0.2.1",
        "hostname": "school.example",
        "http_method": "POST",
        "url": "https://school.example/api/v1/conversations",
        "referrer": "https://school.example/inbox",
        "request_id": "0b1c9f4e-6c1c-4a53-9d0e-3f0f2f0c7d11",
    }
)
OF_JOB: Mapping[str, str] = MappingProxyType({**_ACCOUNT, "job_id": "deliver.7.0", "job_tag": "deliver"})

COMMANDS: tuple[AnyCommand, ...] = (
    PlanBatch(batch_id=7),
    DeliverChunk(batch_id=7, position=12),
    DeliverReply(reply_id=8),
    UpdateConversations(progress_id=9),
)
# A command of an unknown version, and its dead letter.
UNREADABLE = b'{"name":"deliver","version":99,"batch_id":7,"position":12}'
DEAD_LETTER: Mapping[str, Any] = MappingProxyType(
    {
        "reason": "not a command of ours: deliver.version: version 99 is not known to this release, which reads 1",
        "source": "clarion.commands.deliver",
        "routing_key": "deliver",
        "first_time": "2026-05-01T12:34:56.789000+00:00",
        "last_time": "2026-05-01T12:34:56.789000+00:00",
        "attempts": 1,
    }
)

REQUEST: Mapping[str, Any] = MappingProxyType(
    {
        "version": 1,
        "as_user_id": "42",
        "idempotency_key": "field-trip-2026",
        "recipients": ["course_11_students"],
        "subject": "Field trip",
        "body": "We meet at nine.",
        "group_conversation": True,
        "bulk_message": True,
        "mode": "async",
        "context_code": "course_11",
    }
)
ACCEPTED: Mapping[str, Any] = MappingProxyType({"status": 202, "body": []})
REFUSED: Mapping[str, Any] = MappingProxyType(
    {"status": 400, "body": [{"attribute": "recipients", "message": "invalid"}]}
)


# By routing key: how often the bulk send had been moved by then, if it had.
MOVES: Mapping[str, int] = MappingProxyType({"batch_paused": 1, "batch_resumed": 2, "batch_finished": 2})


def _event(name: str, cause: Mapping[str, str], number: str | int, **body: str) -> dict[str, Any]:
    """``number``: what its message id has behind the name."""
    metadata = {"event_name": name, "event_time": HAPPENED, "producer": "canvas", **cause}
    return {"metadata": {**metadata, "message_id": f"{name}.{number}"}, "body": body}


def _batch(name: str, state: str, delivered: int, failed: int = 0, cause: Mapping[str, str] = OF_JOB) -> dict[str, Any]:
    counts = {"total": 2000, "delivered": delivered, "failed": failed, "skipped": 0}
    moves = f".{MOVES[name]}" if name in MOVES else ""
    match name:
        case "batch_progress":
            number = f"7.{delivered + failed}{moves}"
        case "batch_scheduled":
            number = f"7.{milliseconds(datetime.fromisoformat(HAPPENED))}"
        case _:
            number = f"7{moves}"
    return _event(name, cause, number, batch_id="7", state=state, **{key: str(count) for key, count in counts.items()})


# By routing key.
EVENTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "conversation_created": _event(
            "conversation_created", OF_JOB, CONVERSATION, conversation_id=str(CONVERSATION), updated_at=WRITTEN
        ),
        "conversation_message_created": _event(
            "conversation_message_created",
            {**OF_JOB, "batch_id": "10000000000007", "recipient_id": "10000000000501"},
            MESSAGE,
            author_id="42",
            conversation_id=str(CONVERSATION),
            created_at=WRITTEN,
            message_id=str(MESSAGE),
        ),
        "conversation_forwarded": _event(
            "conversation_forwarded", OF_REQUEST, MESSAGE, conversation_id=str(CONVERSATION), updated_at=WRITTEN
        ),
        "batch_scheduled": _batch("batch_scheduled", "scheduled", 0, cause=OF_REQUEST),
        "batch_started": _batch("batch_started", "sending", 500),
        "batch_progress": _batch("batch_progress", "sending", 1500),
        "batch_paused": _batch("batch_paused", "paused", 1500, cause=OF_REQUEST),
        "batch_resumed": _batch("batch_resumed", "sending", 1500, cause=OF_REQUEST),
        "batch_finished": _batch("batch_finished", "sent", 2000),
        "batch_failed": _batch("batch_failed", "error", 1999, failed=1),
    }
)


def message_id(name: str) -> str:
    """The message id of the event of that name."""
    found: str = EVENTS[name]["metadata"]["message_id"]
    return found


def set_id(name: str) -> str:
    """The message id of a set that begins with that event."""
    return f"{message_id(name)}.set"


_AT = {"created_at": "2026-01-01T00:00:00Z", "updated_at": WRITTEN}
_USER = {
    "user_id": "10000000000042",
    "uuid": "u-42",
    "name": "Ana Sol",
    "short_name": "Ana",
    "sortable_name": "Sol, Ana",
    "pronouns": "she/her",
    "avatar_url": "https://school.example/avatars/42.png",
    "user_login": "ana",
    "user_sis_id": "S-42",
    "workflow_state": "registered",
    **_AT,
}
# Bodies by event name, or by its beginning.
_BODIES: Mapping[str, dict[str, Any]] = {
    "user": _USER,
    "user_merged": _USER | {"workflow_state": "deleted", "merged_into_user_id": "10000000000043"},
    "user_account_association": {"user_id": "10000000000042", "account_id": "10000000000001", **_AT},
    "account": {
        "account_id": "3",
        "name": "Faculty of Science",
        "root_account_id": "1",
        "root_account_uuid": "a-1",
        "parent_account_id": "1",
        "workflow_state": "active",
        "site_admin": False,
        **_AT,
    },
    "account_user": {
        "account_user_id": "5",
        "account_id": "3",
        "user_id": "10000000000002",
        "role": "AccountAdmin",
        "workflow_state": "active",
        **_AT,
    },
    "role_override": {
        "role_override_id": "6",
        "context_type": "Account",
        "context_id": "3",
        "role": "StudentEnrollment",
        "permission": "send_messages_all",
        "enabled": True,
        "workflow_state": "active",
        **_AT,
    },
    "course": {
        "course_id": "10000000000011",
        "uuid": "c-11",
        "account_id": "10000000000003",
        "name": "Biology",
        "workflow_state": "available",
        "start_at": "2026-02-01T00:00:00Z",
        "conclude_at": "2026-07-01T00:00:00Z",
        "restrict_enrollments_to_course_dates": False,
        **_AT,
    },
    "course_section": {
        "course_section_id": "12",
        "course_id": "11",
        "name": "Monday group",
        "sis_source_id": "BIO-MON",
        "default_section": False,
        "start_at": None,
        "end_at": None,
        "restrict_enrollments_to_section_dates": False,
        "workflow_state": "active",
        **_AT,
    },
    "enrollment": {
        "enrollment_id": "10000000000013",
        "course_id": "10000000000011",
        "course_section_id": "10000000000012",
        "user_id": "10000000000044",
        "type": "ObserverEnrollment",
        "associated_user_id": "10000000000042",
        "limit_privileges_to_course_section": False,
        "workflow_state": "active",
        **_AT,
    },
    "enrollment_state": {"enrollment_id": "10000000000013", "state": "active", **_AT},
    "group_category": {
        "group_category_id": "10000000000014",
        "group_category_name": "Projects",
        "context_type": "Course",
        "context_id": "11",
        **_AT,
    },
    "group": {
        "group_id": "10000000000015",
        "uuid": "g-15",
        "group_name": "Pond",
        "group_category_id": "10000000000014",
        "context_type": "Course",
        "context_id": "10000000000011",
        "account_id": "10000000000003",
        "non_collaborative": False,
        "workflow_state": "available",
        **_AT,
    },
    "group_membership": {
        "group_membership_id": "10000000000016",
        "group_id": "10000000000015",
        "user_id": "10000000000042",
        "workflow_state": "accepted",
        **_AT,
    },
    "attachment": {
        "attachment_id": "10000000000017",
        "user_id": "10000000000042",
        "context_type": "User",
        "context_id": "10000000000042",
        "folder_id": "10000000000018",
        "folder_name": "conversation attachments",
        "uuid": "a-17",
        "display_name": "pond.jpg",
        "filename": "pond.jpg",
        "content_type": "image/jpeg",
        "size": 48213,
        "url": "https://school.example/files/17",
        "thumbnail_url": "https://school.example/files/17/thumbnail",
        "lock_at": None,
        "unlock_at": None,
        "workflow_state": "processed",
        **_AT,
    },
}


def _directory_event(name: str) -> dict[str, Any]:
    body = _BODIES.get(name) or _BODIES[name.rpartition("_")[0]]
    metadata = {"event_name": name, "event_time": HAPPENED, "producer": "canvas", "version": VERSION}
    return {"metadata": metadata | _ACCOUNT, "body": body}


# By routing key.
DIRECTORY: Mapping[str, Mapping[str, Any]] = MappingProxyType({name: _directory_event(name) for name in BODIES})
