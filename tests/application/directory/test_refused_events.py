"""An event that the database refuses stands alone: the others of its set are written."""

import random
import string
from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.application.directory.events import apply, follow
from service.contracts.directory import DirectoryEvent
from tests.support.directory_histories import event


def too_long(user_id: int, seconds: int = 0) -> DirectoryEvent:
    """A name that no index takes, as long as a name may be and of letters that nothing compresses."""
    letters = random.Random(user_id).choices(string.ascii_letters + string.digits, k=8192)
    return event("user_updated", seconds, user_id=user_id, name="".join(letters))


def user(user_id: int, seconds: int = 0, /, **body: object) -> DirectoryEvent:
    return event("user_updated", seconds, user_id=user_id, **body)


async def users(conn: asyncpg.Connection) -> list[int]:
    return [row["id"] for row in await conn.fetch("SELECT id FROM users ORDER BY id")]


async def test_the_database_refuses_such_a_name(conn: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.ProgramLimitExceededError):
        await apply(conn, [too_long(1)])


@pytest.mark.parametrize("poison", [{1}, {100}, {50}, {1, 2, 3, 77, 100}, set(range(1, 101)), set()])
async def test_only_what_is_refused_is_left_out(conn: asyncpg.Connection, poison: set[int]) -> None:
    events = [too_long(number) if number in poison else user(number) for number in range(1, 101)]

    followed = await follow(conn, events)

    assert followed.refused.keys() == {number - 1 for number in poison}
    assert all(reason.startswith("ProgramLimitExceededError: index row") for reason in followed.refused.values())
    assert all("\n" not in reason for reason in followed.refused.values())
    assert await users(conn) == sorted(set(range(1, 101)) - poison)
    assert followed.written.total() == 100 - len(poison)


async def test_of_events_with_one_time_the_later_arrival_stays_beside_a_refused_one(conn: asyncpg.Connection) -> None:
    await follow(conn, [user(1, name="first"), too_long(2), user(1, name="second"), user(1, name="third")])

    assert await conn.fetchval("SELECT name FROM users WHERE id = 1") == "third"


@pytest.fixture
async def without_courses(conn: asyncpg.Connection) -> AsyncIterator[None]:
    """As if the schema were older than the service; the database is another test's afterwards."""
    await conn.execute("ALTER TABLE courses RENAME TO elsewhere")
    yield
    await conn.execute("ALTER TABLE elsewhere RENAME TO courses")


@pytest.mark.usefixtures("without_courses")
async def test_a_schema_that_is_not_there_yet_is_no_fault_of_the_events(conn: asyncpg.Connection) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await follow(conn, [user(1), event("course_updated", course_id=1)])


async def test_a_lost_connection_is_no_fault_of_the_events(conn: asyncpg.Connection) -> None:
    await conn.close()
    with pytest.raises(asyncpg.InterfaceError):
        await follow(conn, [user(1), user(2)])
