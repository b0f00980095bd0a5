"""The viewer and their list: what every conversation in an answer depends on."""

from dataclasses import dataclass

from service.domain.avatars import Avatars
from service.domain.scopes import NO_FILTERS, Criteria, FilterMode, Filters, Scope, criteria
from sql import inbox
from sql.connection import Connection


@dataclass(frozen=True, slots=True)
class Viewpoint:
    """The viewer, and the scope and filters sent with the request.

    ``base_url`` has no trailing slash. ``private_enrollments`` is include_private_conversation_enrollments;
    ``avatar_fallback`` off is no_avatar_fallback. ``accounts``: null, or whose conversations alone are listed.
    """

    user_id: int
    base_url: str
    root_account_id: int
    scope: Scope = Scope.INBOX
    filters: Filters = NO_FILTERS
    filter_mode: FilterMode = FilterMode.OR
    private_enrollments: bool = True
    avatar_fallback: bool = True
    accounts: frozenset[int] | None = None

    @property
    def avatars(self) -> Avatars:
        """Pictures as this viewer gets them."""
        return Avatars(self.base_url, self.avatar_fallback)


async def criteria_of(conn: Connection, view: Viewpoint) -> Criteria:
    """The viewpoint's filters with uuids looked up; one statement, and only if there are any."""
    uuids = sorted(view.filters.uuids)
    known = await inbox.users_by_uuid(conn, uuids) if uuids else {}
    return criteria(view.filters, view.filter_mode, known)
