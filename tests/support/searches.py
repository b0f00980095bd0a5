"""Searches made short, for tests of what they find."""

from collections.abc import Awaitable, Callable
from typing import Any

from service.domain.avatars import Avatars
from sql.connection import Connection
from tests.support.institution import Institution

AVATARS = Avatars("https://clarion.example")

Look = Callable[..., Awaitable[list[Any]]]


async def named(institution: Institution, conn: Connection, name: str, sortable: str | None = None) -> int:
    """A user of this name; without a sortable one the directory has given none."""
    user = await institution.user(name)
    await conn.execute("UPDATE users SET sortable_name = $2 WHERE id = $1", user, sortable)
    return user
