"""The bodies of directory events (CONTRACT 5, canvas/events.md 3), as far as the service keeps them.

Other keys are ignored. The keys that an event has are in ``model_fields_set``: an absent key is not the same
as a key that is null. Only id keys are required.
"""

from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    StringConstraints,
    model_validator,
)

# A global id is shard * 10^13 + local id (canvas/events.md 1.2); inside the service all ids are local.
SHARD_SIZE = 10**13
_MAX_ID = 2**63 - 1
_MAX_ID_DIGITS = 19
# Event times order the directory: an impossible one would win for ever.
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(3000, 1, 1, tzinfo=UTC)


def local_id(value: object) -> int:
    """The local id behind a string or number, local or global; ValueError for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= _MAX_ID_DIGITS:
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= _MAX_ID:
        raise ValueError("an id is a positive 64-bit integer, as a number or a string of digits")
    if value % SHARD_SIZE == 0:
        raise ValueError("an id has a local part")
    return value % SHARD_SIZE


def _utc(value: datetime) -> datetime:
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("the time lies outside the years 1 to 9999") from None


def _orders(value: datetime) -> datetime:
    moment = _utc(value)
    if not _EARLIEST <= moment < _LATEST:
        raise ValueError("an event's time lies between 1970 and 3000")
    return moment


# PostgreSQL stores no NUL. Lengths keep one event from being larger than its row can be: long text is cut to
# 8192 characters at the source (canvas/events.md 1), and what stands in an index has to fit a page.
_NO_NUL = r"^[^\x00]*$"
_ANY_ID = Annotated[int, Field(gt=0, le=_MAX_ID)] | Annotated[str, StringConstraints(pattern=r"^[0-9]{1,19}$")]
Id = Annotated[int, PlainValidator(local_id, json_schema_input_type=_ANY_ID)]
Label = Annotated[str, StringConstraints(max_length=512, pattern=_NO_NUL)]
Text = Annotated[str, StringConstraints(max_length=8192, pattern=_NO_NUL)]
Time = Annotated[datetime, AfterValidator(_utc)]
EventTime = Annotated[datetime, AfterValidator(_orders)]
Size = Annotated[int, Field(ge=0, le=2**63 - 1)]


class Body(BaseModel):
    """What every body may carry. updated_at orders events about one row; without it event_time does."""

    model_config = ConfigDict(frozen=True)

    updated_at: EventTime | None = None


class UserBody(Body):
    """user_created, user_updated"""

    user_id: Id
    uuid: Label | None = None
    name: Text | None = None
    short_name: Text | None = None
    workflow_state: Label | None = None
    created_at: Time | None = None
    user_login: Label | None = None
    user_sis_id: Label | None = None
    sortable_name: Text | None = None
    pronouns: Text | None = None
    avatar_url: Text | None = None
    merged_into_user_id: Id | None = None


class UserMergedBody(UserBody):
    """user_merged: the first account was merged into the second (canvas/semantics.md 2.6)."""

    merged_into_user_id: Id

    @model_validator(mode="after")
    def _two_users(self) -> "UserMergedBody":
        if self.user_id == self.merged_into_user_id:
            raise ValueError("a user is merged into another one")
        return self


class UserAccountAssociationBody(Body):
    """user_account_association_created"""

    user_id: Id
    account_id: Id


class AccountBody(Body):
    """account_created, account_updated"""

    account_id: Id
    name: Text | None = None
    root_account_id: Id | None = None
    root_account_uuid: Label | None = None
    parent_account_id: Id | None = None
    workflow_state: Label | None = None
    site_admin: bool | None = None


class AccountUserBody(Body):
    """account_user_created, account_user_updated: an administrator."""

    account_user_id: Id
    account_id: Id
    user_id: Id
    role: Label | None = None
    workflow_state: Label | None = None


class RoleOverrideBody(Body):
    """role_override_created, role_override_updated"""

    role_override_id: Id
    context_id: Id
    context_type: Literal["Account", "Course"] | None = None
    role: Label | None = None
    permission: Label | None = None
    enabled: bool | None = None
    workflow_state: Label | None = None


class CourseBody(Body):
    """course_created, course_updated"""

    course_id: Id
    uuid: Label | None = None
    account_id: Id | None = None
    name: Text | None = None
    workflow_state: Label | None = None
    start_at: Time | None = None
    conclude_at: Time | None = None
    restrict_enrollments_to_course_dates: bool | None = None


class CourseSectionBody(Body):
    """course_section_created, course_section_updated"""

    course_section_id: Id
    course_id: Id
    name: Text | None = None
    default_section: bool | None = None
    start_at: Time | None = None
    end_at: Time | None = None
    restrict_enrollments_to_section_dates: bool | None = None
    workflow_state: Label | None = None
    sis_source_id: Label | None = None


class EnrollmentBody(Body):
    """enrollment_created, enrollment_updated"""

    enrollment_id: Id
    course_id: Id
    user_id: Id
    course_section_id: Id | None = None
    type: Label | None = None
    associated_user_id: Id | None = None
    limit_privileges_to_course_section: bool | None = None
    workflow_state: Label | None = None


class EnrollmentStateBody(Body):
    """enrollment_state_created, enrollment_state_updated"""

    enrollment_id: Id
    state: Label


class GroupCategoryBody(Body):
    """group_category_created, group_category_updated"""

    group_category_id: Id
    group_category_name: Text | None = None
    context_type: Label | None = None
    context_id: Id | None = None


class GroupBody(Body):
    """group_created, group_updated"""

    group_id: Id
    uuid: Label | None = None
    group_name: Text | None = None
    group_category_id: Id | None = None
    context_type: Label | None = None
    context_id: Id | None = None
    account_id: Id | None = None
    non_collaborative: bool | None = None
    workflow_state: Label | None = None


class GroupMembershipBody(Body):
    """group_membership_created, group_membership_updated"""

    group_membership_id: Id
    group_id: Id
    user_id: Id
    workflow_state: Label | None = None


class AttachmentBody(Body):
    """attachment_created, attachment_updated, attachment_deleted"""

    attachment_id: Id
    user_id: Id | None = None
    context_type: Label | None = None
    context_id: Id | None = None
    folder_id: Id | None = None
    folder_name: Text | None = None
    uuid: Label | None = None
    display_name: Text | None = None
    filename: Text | None = None
    content_type: Label | None = None
    size: Size | None = None
    url: Text | None = None
    thumbnail_url: Text | None = None
    lock_at: Time | None = None
    unlock_at: Time | None = None
    created_at: Time | None = None
    workflow_state: Label | None = None
