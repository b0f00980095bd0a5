"""The one user whom user_id names (canvas/endpoints.md 4.13)."""

from typing import Any

import asyncpg
import pytest

from service.application.search.recipients import find_user
from service.domain.errors import Code, Refusal
from tests.support.conversations import Threads
from tests.support.institution import Institution
from tests.support.searches import AVATARS, Look


@pytest.fixture
def find(conn: asyncpg.Connection) -> Look:
    """find_user(), the ids of what it finds."""

    async def call(viewer: int, text: object, *, conversation: int | None = None) -> list[Any]:
        found = await find_user(conn, viewer, str(text), conversation_id=conversation, avatars=AVATARS)
        return [person["id"] for person in found]

    return call


async def test_a_user_is_found_in_every_form(conn: asyncpg.Connection, institution: Institution, find: Look) -> None:
    course = await institution.course()
    viewer, fellow = await institution.users(2)
    await institution.enroll(course, [viewer, fellow])
    await conn.execute("UPDATE users SET sis_id = 'S-1', login = 'fellow@x' WHERE id = $1", fellow)
    forms = [fellow, f"uuid:uuid-{fellow}", "sis_user_id:S-1", "sis_login_id:fellow@x", "hex:sis_user_id:532d31"]

    assert [await find(viewer, form) for form in forms] == [[fellow]] * len(forms)
    assert await find(viewer, "self") == [viewer]


@pytest.mark.parametrize(
    "text", ["9", "unknown", "uuid:x", "sis_user_id:", "hex:sis_user_id:zz", "lti_user_id:1", 2**63]
)
async def test_an_unknown_user_is_not_found(institution: Institution, find: Look, text: object) -> None:
    with pytest.raises(Refusal) as refused:
        await find(await institution.user(), text)

    assert refused.value.code is Code.NOT_FOUND


async def test_an_outsider_is_found_by_a_shared_conversation_only(
    institution: Institution, threads: Threads, find: Look
) -> None:
    viewer, outsider, other = await institution.users(3)
    thread = await threads.private(viewer, outsider)

    assert await find(viewer, outsider) == []
    assert await find(viewer, outsider, conversation=thread) == [outsider]
    assert await find(other, outsider, conversation=thread) == []
