"""What several modules of tests ask the service for."""

from typing import Any

import asyncpg
import pytest

from service.application.address_book.recipients import resolve, sender_rights
from service.application.search.recipients import Search, search
from service.domain.bookmarks import MarkedPage
from service.domain.recipients import parse
from service.domain.search import parse_kinds, parse_place
from tests.support.recipients import Resolve
from tests.support.searches import AVATARS, Look


@pytest.fixture
def look(conn: asyncpg.Connection) -> Look:
    """search() made short: the ids on the first hundred places, or the items."""

    async def call(
        viewer: int,
        terms: str | None = None,
        context: str | None = None,
        *,
        types: tuple[str, ...] = (),
        items: bool = False,
        **more: Any,
    ) -> list[Any]:
        asked = Search(
            terms=None if terms is None else terms.split(), place=parse_place(context), kinds=parse_kinds(types), **more
        )
        found = await search(conn, viewer, asked, MarkedPage(100), AVATARS)
        return found.items if items else [item["id"] for item in found.items]

    return call


@pytest.fixture
def reached(conn: asyncpg.Connection) -> Resolve:
    """resolve() with its keywords made short: who of ``recipients`` may ``sender`` write to?"""

    async def call(
        sender: int, *recipients: int | str, context: str | None = None, conversation: int | None = None
    ) -> list[int]:
        named = parse([str(recipient) for recipient in recipients])
        known = await sender_rights(conn, sender, named, context)
        return list(await resolve(conn, known, named, context, conversation_id=conversation))

    return call
