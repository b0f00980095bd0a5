"""All ways in which people are looked for lead to the same list, in pages and in few statements."""

from itertools import product
from typing import Any

import asyncpg
import pytest

from service.application.search import people as people_search
from service.application.search.recipients import Search, search
from service.domain.bookmarks import MarkedPage
from service.domain.search import Kind
from tests.support.institution import Institution
from tests.support.searches import AVATARS, Look, named


@pytest.fixture(params=[(1_000, 500, 2_000, 10), *product([0], [1, 3, 500], [0, 2_000], [0, 10])], ids=str)
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """From what number on enrolments, steps, matches and places are many; together they make every way be taken."""
    for name, limit in zip(("_FEW", "_STEPS", "_MATCHES", "_PLACES"), request.param, strict=True):
        monkeypatch.setattr(people_search, name, limit)


@pytest.mark.usefixtures("limits")
async def test_all_ways_lead_to_the_same_people(institution: Institution, look: Look) -> None:
    course = await institution.course()
    users = await institution.users(12)
    teacher, *students = users
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, students[::2])
    group = await institution.group(members=[teacher, students[1]])
    admin = await institution.user("Admin")
    await institution.admin(admin)
    await institution.associate(students[5])

    assert await look(teacher, "User") == sorted([teacher, *students[::2], students[1]])
    assert await look(teacher, "r 11", types=("user",)) == [
        id_ for id_ in sorted([*students[::2], students[1]]) if str(id_).startswith("11")
    ]
    assert await look(teacher, "1", types=("user",)) == [
        id_ for id_ in sorted([teacher, *students[::2], students[1]]) if "1" in str(id_)
    ]
    assert await look(teacher, "qx", types=("user",)) == []
    assert await look(teacher, context=f"course_{course}_teachers") == [teacher]
    assert await look(teacher, context=f"group_{group}") == [teacher, students[1]]
    assert await look(admin, "User") == sorted([teacher, *students[::2], students[5]])


@pytest.mark.usefixtures("limits")
@pytest.mark.parametrize("size", [1, 3, 8])
async def test_walking_visits_everybody_once_namesakes_too(
    conn: asyncpg.Connection, institution: Institution, size: int
) -> None:
    course = await institution.course()
    people = [await named(institution, conn, name) for name in ("", "Zoe", "x", "Ed Ow", "Ed Ow", "ed ow", "Éd Ow")]
    await institution.enroll(course, people)
    await institution.user("Eda Owl")
    asked, page, visited = Search(terms=(), kinds=frozenset({Kind.USER})), MarkedPage(size), []
    while True:
        found = await search(conn, people[0], asked, page, AVATARS)
        visited += [item["id"] for item in found.items]
        assert len(found.items) <= size
        if found.following is None:
            break
        page = MarkedPage(size, found.following)

    empty, zoe, x, one, two, small, accented = people
    assert visited == [empty, small, one, two, accented, x, zoe]


@pytest.fixture
def only_by_match(monkeypatch: pytest.MonkeyPatch) -> None:
    """Terms are looked for in indexes of names at once."""
    for name in ("_FEW", "_STEPS"):
        monkeypatch.setattr(people_search, name, 0)


@pytest.mark.usefixtures("only_by_match")
@pytest.mark.parametrize(
    ("term", "found"),
    [("o", [0, 1]), ("'", [0]), ("o'", [0]), ("\\", [1]), ("\\o", [1]), (":*", [1]), ("É", [2]), ("é", [2]), ("e", [])],
)
async def test_one_letter_or_two_are_found_anywhere_in_a_name(
    conn: asyncpg.Connection, institution: Institution, look: Look, term: str, found: list[int]
) -> None:
    course = await institution.course()
    people = [await named(institution, conn, name) for name in ("O'Ba", "Z:*\\o", "ZÉ")]
    await institution.enroll(course, people)

    assert await look(people[0], term, types=("user",)) == [people[position] for position in found]


@pytest.mark.usefixtures("only_by_match")
async def test_namesakes_whom_the_viewer_does_not_see_hide_no_one(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    namesakes = [await named(institution, conn, f"Ed Low {number:02}") for number in range(20)]
    course = await institution.course()
    await institution.enroll(course, namesakes[-3:])
    asked = Search(terms=["low"], kinds=frozenset({Kind.USER}))

    found = await search(conn, namesakes[-1], asked, MarkedPage(2), AVATARS)

    assert [item["id"] for item in found.items] == namesakes[-3:-1]
    assert found.following is not None


async def test_statements_do_not_grow_with_what_is_found(
    conn: asyncpg.Connection, institution: Institution, look: Look
) -> None:
    seen: list[Any] = []
    conn.add_query_logger(seen.append)

    async def statements(courses: int, students: int) -> int:
        viewer = await institution.user("Viewer")
        for _ in range(courses):
            course = await institution.course()
            await institution.section(course)
            await institution.section(course)
            await institution.enroll(course, viewer, "Teacher")
            await institution.enroll(course, await institution.users(students))
            await institution.group(course=course, members=[viewer])
        seen.clear()
        assert await look(viewer, "")
        return len(seen)

    assert await statements(1, 1) == await statements(6, 12)
