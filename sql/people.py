"""People as they are shown in conversations, and what the viewer shares with them."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Many, Single


class PersonRow(NamedTuple):
    """A user of the directory as others are shown them; ``name`` is the short name, else the name."""

    id: int
    name: str
    full_name: str
    pronouns: str | None
    uuid: str | None
    avatar_url: str | None


class OwnUserRow(NamedTuple):
    """A user as they are shown to themselves; the names of one the directory does not know are empty.

    ``account_admin``: whether the role AccountAdmin is held on any account.
    """

    id: int
    name: str
    short_name: str
    sortable_name: str
    pronouns: str | None
    avatar_url: str | None
    login: str | None
    sis_id: str | None
    created_at: datetime | None
    account_admin: bool


class SharedContext(NamedTuple):
    """A course that a user shares with the viewer, with the user's enrolment types there, or a group."""

    user_id: int
    course_id: int | None
    group_id: int | None
    types: list[str] | None


_OWN_USER = Single("own_user", OwnUserRow)
_PEOPLE = Many("people_by_id", PersonRow)
_SHARED = Many("shared_contexts", SharedContext)


async def own_user(conn: Connection, user_id: int) -> OwnUserRow:
    """The user with this id, in the directory or not (yet)."""
    return await _OWN_USER(conn, user_id=user_id)


async def people_by_id(conn: Connection, user_ids: Sequence[int]) -> dict[int, PersonRow]:
    """Known users by id, ids ascending."""
    return {row.id: row for row in await _PEOPLE(conn, user_ids=user_ids)}


async def shared_contexts(conn: Connection, viewer_id: int, user_ids: Sequence[int]) -> list[SharedContext]:
    """Every course and group that the viewer shares with one of the users."""
    return await _SHARED(conn, viewer_id=viewer_id, user_ids=user_ids)
