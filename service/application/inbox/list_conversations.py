"""The list of one's conversations, and which of them are unread (canvas/endpoints.md 4.1, 4.12)."""

from collections.abc import Sequence
from dataclasses import dataclass

from service.application.presentation.conversations import present
from service.application.presentation.profiles import Profile
from service.application.presentation.shapes import Conversation
from service.application.presentation.viewpoint import Viewpoint, criteria_of
from service.domain.pagination import Page
from service.domain.scopes import Criteria, Scope
from sql import inbox
from sql.connection import Connection
from sql.participants import conversations_within


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a list: its conversations, the length of the whole list, and all ids when asked for."""

    conversations: list[Conversation]
    total: int
    all_ids: list[int] | None


async def load_page(
    conn: Connection, view: Viewpoint, page: Page, profile: Profile, *, all_ids: bool, uuids: bool, beta: bool
) -> Listing:
    """A page of the viewer's list of that scope and those filters; empty past the end."""
    if all_ids or view.filters or view.accounts is not None:
        every = await _all_ids(conn, view)
        ids, total = every[page.offset : page.offset + page.size], len(every)
    else:
        every = None
        ids, total = await _page(conn, view, page)
    shown = await present(conn, view, ids, profile, uuids=uuids, beta=beta)
    return Listing(shown, total, every if all_ids else None)


async def _all_ids(conn: Connection, view: Viewpoint) -> list[int]:
    listed = await inbox.list_ids(conn, view.user_id, view.scope, await criteria_of(conn, view))
    return listed if view.accounts is None else await _within(conn, listed, view.accounts)


async def _within(conn: Connection, listed: Sequence[int], accounts: frozenset[int]) -> list[int]:
    within = await conversations_within(conn, listed, accounts)
    return [conversation_id for conversation_id in listed if conversation_id in within]


async def _page(conn: Connection, view: Viewpoint, page: Page) -> tuple[list[int], int]:
    """The page's ids and the list's length. A page behind the end has no row to say it, so the first is asked."""
    found, total = await inbox.list_page(conn, view.user_id, view.scope, page.size, page.offset)
    if total is None and page.offset > 0:
        _, total = await inbox.list_page(conn, view.user_id, view.scope, 1, 0)
    return found, total or 0


async def count_unread(conn: Connection, user_id: int, *, accounts: frozenset[int] | None = None) -> int:
    """How many of the user's visible conversations are unread; ``accounts``: of those within these, null for all."""
    if accounts is None:
        return await inbox.unread_count(conn, user_id)
    return len(await list_unread(conn, user_id, accounts))


async def list_unread(conn: Connection, user_id: int, accounts: frozenset[int]) -> list[int]:
    """The user's visible conversations that are unread and within these accounts, newest first."""
    return await _within(conn, await inbox.list_ids(conn, user_id, Scope.UNREAD, Criteria()), accounts)
