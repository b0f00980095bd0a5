"""What directory events say about each kind of row (canvas/events.md 3, CONTRACT 5)."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Kind(StrEnum):
    """What events change, in the order in which it is written: the one lock order."""

    ACCOUNT = "accounts"
    USER = "users"
    USER_ACCOUNT = "user_accounts"
    ACCOUNT_USER = "account_users"
    ROLE_OVERRIDE = "role_overrides"
    COURSE = "courses"
    SECTION = "sections"
    ENROLLMENT = "enrollments"
    ENROLLMENT_STATE = "enrollment_states"
    GROUP_CATEGORY = "group_categories"
    GROUP = "groups"
    GROUP_MEMBERSHIP = "group_memberships"
    ATTACHMENT = "attachments"


@dataclass(frozen=True)
class Shape:
    """The keys of events about one kind of row, in the order of the row's stamps.

    steady: Canvas always sends them. compactable: Canvas sends them too, but a producer that compacts events
    drops them when they are null (canvas/events.md 1); so where all steady keys came, a missing one is null.
    extra: Canvas does not know them; a missing one says nothing.
    """

    kind: Kind
    identity: tuple[str, ...]
    steady: tuple[str, ...] = ()
    compactable: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """All keys whose values a change carries, in order."""
        return self.steady + self.compactable + self.extra


SHAPES: Mapping[Kind, Shape] = MappingProxyType(
    {
        shape.kind: shape
        for shape in (
            Shape(
                Kind.ACCOUNT,
                identity=("account_id",),
                steady=("name", "workflow_state"),
                compactable=("root_account_id", "parent_account_id", "root_account_uuid"),
                extra=("site_admin",),
            ),
            Shape(
                Kind.USER,
                identity=("user_id",),
                steady=("uuid", "name", "short_name", "workflow_state", "created_at"),
                compactable=("user_login", "user_sis_id"),
                extra=("sortable_name", "pronouns", "avatar_url", "merged_into_user_id"),
            ),
            Shape(Kind.USER_ACCOUNT, identity=("account_id", "user_id")),
            Shape(
                Kind.ACCOUNT_USER,
                identity=("account_user_id",),
                steady=("account_id", "user_id", "role", "workflow_state"),
            ),
            Shape(
                Kind.ROLE_OVERRIDE,
                identity=("role_override_id",),
                steady=("context_type", "context_id", "role", "permission", "enabled", "workflow_state"),
            ),
            Shape(
                Kind.COURSE,
                identity=("course_id",),
                steady=("uuid", "account_id", "name", "workflow_state"),
                extra=("start_at", "conclude_at", "restrict_enrollments_to_course_dates"),
            ),
            Shape(
                Kind.SECTION,
                identity=("course_section_id",),
                steady=(
                    "course_id",
                    "name",
                    "default_section",
                    "restrict_enrollments_to_section_dates",
                    "workflow_state",
                ),
                compactable=("start_at", "end_at", "sis_source_id"),
            ),
            Shape(
                Kind.ENROLLMENT,
                identity=("enrollment_id",),
                steady=(
                    "course_id",
                    "course_section_id",
                    "user_id",
                    "type",
                    "limit_privileges_to_course_section",
                    "workflow_state",
                ),
                compactable=("associated_user_id",),
            ),
            Shape(Kind.ENROLLMENT_STATE, identity=("enrollment_id",), steady=("state",)),
            Shape(
                Kind.GROUP_CATEGORY,
                identity=("group_category_id",),
                steady=("group_category_name", "context_type", "context_id"),
            ),
            Shape(
                Kind.GROUP,
                identity=("group_id",),
                steady=("uuid", "group_name", "context_type", "context_id", "account_id", "workflow_state"),
                compactable=("group_category_id",),
                extra=("non_collaborative",),
            ),
            Shape(
                Kind.GROUP_MEMBERSHIP,
                identity=("group_membership_id",),
                steady=("group_id", "user_id", "workflow_state"),
            ),
            Shape(
                Kind.ATTACHMENT,
                identity=("attachment_id",),
                steady=(
                    "user_id",
                    "context_type",
                    "context_id",
                    "folder_id",
                    "display_name",
                    "filename",
                    "content_type",
                    "updated_at",
                ),
                compactable=("lock_at", "unlock_at"),
                extra=(
                    "uuid",
                    "size",
                    "url",
                    "folder_name",
                    "thumbnail_url",
                    "created_at",
                    "workflow_state",
                ),
            ),
        )
    }
)
