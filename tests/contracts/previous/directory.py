"""Directory events as they arrive (CONTRACT 5): one JSON object, in a message or on a line of a file."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeVar

import orjson
from pydantic import BaseModel, ConfigDict, ValidationError

from tests.contracts.previous.directory_bodies import (
    AccountBody,
    AccountUserBody,
    AttachmentBody,
    Body,
    CourseBody,
    CourseSectionBody,
    EnrollmentBody,
    EnrollmentStateBody,
    EventTime,
    GroupBody,
    GroupCategoryBody,
    GroupMembershipBody,
    Label,
    RoleOverrideBody,
    UserAccountAssociationBody,
    UserBody,
    UserMergedBody,
)
from tests.contracts.previous.versions import Version
from tests.contracts.previous.wording import worded

# Of the envelope and the bodies, as ``metadata.version``. Canvas sends none, which means this one.
VERSION = 1
# Far above the size of any real event; more is malformed.
MAX_EVENT_BYTES = 1 << 20

_Model = TypeVar("_Model", bound=BaseModel)


class MalformedEvent(Exception):
    """The bytes are no directory event; the message is one line and names the key at fault."""


class Metadata(BaseModel):
    """What the service reads of an envelope's metadata."""

    model_config = ConfigDict(frozen=True)

    event_name: Label
    event_time: EventTime | None = None
    version: Version | None = None


# Event name -> body. Any other name belongs to something else on the same feed (heartbeat, grades, …).
BODIES: Mapping[str, type[Body]] = MappingProxyType(
    {
        "user_created": UserBody,
        "user_updated": UserBody,
        "user_merged": UserMergedBody,
        "user_account_association_created": UserAccountAssociationBody,
        "account_created": AccountBody,
        "account_updated": AccountBody,
        "account_user_created": AccountUserBody,
        "account_user_updated": AccountUserBody,
        "role_override_created": RoleOverrideBody,
        "role_override_updated": RoleOverrideBody,
        "course_created": CourseBody,
        "course_updated": CourseBody,
        "course_section_created": CourseSectionBody,
        "course_section_updated": CourseSectionBody,
        "enrollment_created": EnrollmentBody,
        "enrollment_updated": EnrollmentBody,
        "enrollment_state_created": EnrollmentStateBody,
        "enrollment_state_updated": EnrollmentStateBody,
        "group_category_created": GroupCategoryBody,
        "group_category_updated": GroupCategoryBody,
        "group_created": GroupBody,
        "group_updated": GroupBody,
        "group_membership_created": GroupMembershipBody,
        "group_membership_updated": GroupMembershipBody,
        "attachment_created": AttachmentBody,
        "attachment_updated": AttachmentBody,
        "attachment_deleted": AttachmentBody,
    }
)


@dataclass(frozen=True, slots=True)
class DirectoryEvent:
    """One event the directory follows; its time (UTC) is the body's updated_at, else the event_time.

    ``emitted`` is the event_time: it orders events of one time.
    """

    name: str
    time: datetime
    body: Body
    emitted: datetime | None = None


@dataclass(frozen=True, slots=True)
class ForeignEvent:
    """A well-formed event about something the directory does not follow: to be ignored."""

    name: str


def parse_event(data: bytes | str) -> DirectoryEvent | ForeignEvent:
    """One event from its JSON. MalformedEvent when it cannot be read, lacks its ids or cannot be ordered."""
    if len(data) > MAX_EVENT_BYTES:
        raise MalformedEvent(f"longer than {MAX_EVENT_BYTES} bytes")
    try:
        envelope: Any = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedEvent(f"not JSON: {error}") from None
    if not isinstance(envelope, dict):
        raise MalformedEvent("not a JSON object")
    metadata = _validated(Metadata, envelope, "metadata")
    if (model := BODIES.get(metadata.event_name)) is None:
        return ForeignEvent(metadata.event_name)
    body = _validated(model, envelope, "body")
    time = body.updated_at or metadata.event_time
    if time is None:
        raise MalformedEvent("neither body.updated_at nor metadata.event_time: the event cannot be ordered")
    return DirectoryEvent(metadata.event_name, time, body, metadata.event_time)


def _validated(model: type[_Model], envelope: dict[str, Any], key: str) -> _Model:
    try:
        return model.model_validate(envelope.get(key))
    except ValidationError as error:
        raise MalformedEvent(worded(error, key)) from None
