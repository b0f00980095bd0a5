"""Who and what a search finds (canvas/endpoints.md 4.13 and 5)."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import asyncpg
import pytest

from service.application import searching_people
from service.application.searching import Search, find_user, search
from service.domain.avatars import Avatars
from service.domain.bookmarks import MarkedPage
from service.domain.errors import Code, Refusal
from service.domain.search import Kind, parse_kinds, parse_place
from tests.institution import Institution
from tests.thread import Threads

AVATARS = Avatars("https://clarion.example")
NOW = datetime.now(UTC)

Look = Callable[..., Awaitable[list[Any]]]


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


async def named(institution: Institution, conn: asyncpg.Connection, name: str, sortable: str | None = None) -> int:
    """A user of this name; without a sortable one the directory has not told it."""
    user = await institution.user(name)
    await conn.execute("UPDATE users SET sortable_name = $2 WHERE id = $1", user, sortable)
    return user


# People


async def test_people_come_by_surname_as_people_sort_names(
    conn: asyncpg.Connection, institution: Institution, look: Look
) -> None:
    course = await institution.course()
    names = ["Bo Zander", "Ann Ähl", "Cy adams", "Di Berg", "Eve Adams"]
    zander, aehl, small, berg, eve = [await named(institution, conn, name) for name in names]
    told = await named(institution, conn, "Zoe Zulu", "Aaa, first")
    await institution.enroll(course, [zander, aehl, small, berg, eve, told])

    assert await look(zander, context=f"course_{course}") == [told, small, eve, aehl, berg, zander]


async def test_every_term_is_in_the_name_or_in_the_short_name(institution: Institution, look: Look) -> None:
    course = await institution.course()
    viewer = await institution.user("Zoe")
    found = await institution.user("Margarete Hamilton", short_name="Peggy")
    other = await institution.user("Margarete 100%_sure")
    await institution.enroll(course, [viewer, found, other])

    assert await look(viewer, "GARETE") == [found, other]
    assert await look(viewer, "margarete pegg") == [found]
    assert await look(viewer, "ton peg") == [found]
    assert await look(viewer, "tonpeg") == []
    assert await look(viewer, "0%_s") == [other]
    assert await look(viewer, "%") == [other]
    assert await look(viewer, "g_y") == []


async def test_the_viewer_is_found_with_real_common_courses(institution: Institution, look: Look) -> None:
    course = await institution.course()
    viewer, fellow = await institution.user("Ann One"), await institution.user("Bob Two")
    await institution.enroll(course, [viewer, fellow])
    group = await institution.group(course=course, members=[viewer, fellow])

    items = await look(viewer, "", types=("user",), items=True)

    assert items == [
        {
            "id": id_,
            "name": name,
            "full_name": name,
            "pronouns": None,
            "common_courses": {str(course): ["StudentEnrollment"]},
            "common_groups": {str(group): ["Member"]},
            "avatar_url": "https://clarion.example/images/messages/avatar-50.png",
        }
        for id_, name in ((viewer, "Ann One"), (fellow, "Bob Two"))
    ]


async def test_inside_a_context_only_that_one_is_common(institution: Institution, look: Look) -> None:
    here, there = await institution.course(), await institution.course()
    viewer, fellow = await institution.users(2)
    for course in (here, there):
        await institution.enroll(course, [viewer, fellow])
    group = await institution.group(course=here, members=[viewer, fellow])

    (in_course,) = await look(viewer, context=f"course_{here}", items=True, excluded_users=[viewer])
    (in_group,) = await look(viewer, context=f"group_{group}", items=True, excluded_users=[viewer])

    assert (in_course["common_courses"], in_course["common_groups"]) == ({str(here): ["StudentEnrollment"]}, {})
    assert (in_group["common_courses"], in_group["common_groups"]) == ({}, {str(group): ["Member"]})


async def test_strangers_deleted_and_unmessageable_people_are_not_found(institution: Institution, look: Look) -> None:
    course = await institution.course()
    viewer = await institution.user()
    deleted, pending = await institution.user(state="deleted"), await institution.user(state="creation_pending")
    await institution.user("User Stranger")
    fake = await institution.user("User Fake")
    await institution.enroll(course, [viewer, deleted, pending])
    await institution.enroll(course, fake, "StudentView")

    assert await look(viewer, "User") == [viewer]
    assert await look(viewer, context=f"course_{course}") == [viewer]


async def test_roles_narrow_a_context_and_unknown_words_name_nobody(institution: Institution, look: Look) -> None:
    course = await institution.course()
    teacher, ta, student, designer, observer = await institution.users(5)
    for user, role in ((teacher, "Teacher"), (ta, "Ta"), (student, "Student"), (designer, "Designer")):
        await institution.enroll(course, user, role)
    await institution.enroll(course, observer, "Observer", observing=student)
    expected = {
        "teachers": [teacher],
        "tas": [ta],
        "students": [student],
        "designers": [designer],
        "observers": [observer],
        "admins": [teacher, ta],
        "all": [teacher, ta, student, designer, observer],
        "wizards": [],
    }

    assert {role: await look(teacher, context=f"course_{course}_{role}") for role in expected} == expected


async def test_a_section_limited_teacher_finds_the_people_of_their_sections(
    institution: Institution, look: Look
) -> None:
    course = await institution.course()
    one, two = await institution.section(course), await institution.section(course)
    teacher, near, far = await institution.users(3)
    await institution.enroll(course, teacher, "Teacher", section=one, limited=True)
    await institution.enroll(course, near, section=one)
    await institution.enroll(course, far, section=two)

    assert await look(teacher, "User") == [teacher, near]
    assert await look(teacher, context=f"section_{one}_students") == [near]
    assert await look(teacher, context=f"section_{two}") == []


async def test_an_observer_finds_instructors_observed_students_and_themselves(
    institution: Institution, look: Look
) -> None:
    course = await institution.course()
    teacher, student, other, observer = await institution.users(4)
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, [student, other])
    await institution.enroll(course, observer, "Observer", observing=student)

    assert await look(observer, "User") == [teacher, student, observer]
    assert await look(other, "User") == [teacher, student, other]
    assert await look(student, "User") == [teacher, student, other, observer]


async def test_who_has_left_is_found_by_name_and_not_in_the_course(institution: Institution, look: Look) -> None:
    course = await institution.course()
    teacher, gone, gone_ta, student = await institution.users(4)
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, gone, state="completed")
    await institution.enroll(course, gone_ta, "Ta", state="completed")
    await institution.enroll(course, student)

    assert await look(student, "User") == [teacher, gone, gone_ta, student]
    assert await look(student, context=f"course_{course}") == [teacher, student]
    assert await look(teacher, context=f"course_{course}") == [teacher, gone_ta, student]


async def test_rosters_find_members_of_accounts_and_administrators_see_into_courses(
    institution: Institution, look: Look
) -> None:
    account = await institution.account(1)
    course = await institution.course(account=account)
    admin, member, student, stranger = await institution.users(4)
    await institution.admin(admin, account=account)
    await institution.associate(member, account)
    await institution.enroll(course, student)
    await institution.associate(stranger)

    items = await look(admin, "User", items=True)

    assert {item["id"]: item["common_courses"] for item in items} == {
        member: {"0": ["FakeEnrollment"]},
        student: {"0": ["FakeEnrollment"]},
    }
    (inside,) = await look(admin, context=f"course_{course}", items=True)
    assert (inside["id"], inside["common_courses"]) == (student, {str(course): ["StudentEnrollment"]})
    assert await look(stranger, context=f"course_{course}") == []


@pytest.fixture(params=list(product([0, 1_000], [1, 3, 500], [0, 2_000])), ids=str)
def limits(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """From what number on enrolments, steps and matches are many; together they make every way be taken."""
    for name, limit in zip(("_FEW", "_STEPS", "_MATCHES"), request.param, strict=True):
        monkeypatch.setattr(searching_people, name, limit)


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


# Contexts


async def test_contexts_come_first_and_say_what_they_are(institution: Institution, look: Look) -> None:
    course = await institution.course("Physics")
    one, two = await institution.section(course, "Phase 1"), await institution.section(course, "Phase 2")
    teacher, near, far = await institution.users(3)
    await institution.enroll(course, teacher, "Teacher", section=one)
    await institution.enroll(course, near, section=one)
    await institution.enroll(course, far, section=two)
    group = await institution.group(course=course, name="Phi", members=[near, far])

    items = await look(teacher, "ph", items=True, permissions=frozenset({"send_messages", "fly"}))

    def item(id_: str, name: str, count: int, **more: str) -> dict[str, Any]:
        return {
            "id": id_,
            "name": name,
            "avatar_url": "https://clarion.example/images/messages/avatar-group-50.png",
            "type": "context",
            "user_count": count,
            "permissions": {"send_messages": True},
            **more,
        }

    assert items == [
        item(f"course_{course}", "Physics", 3),
        item(f"section_{one}", "Phase 1", 2, context_name="Physics"),
        item(f"section_{two}", "Phase 2", 1, context_name="Physics"),
        item(f"group_{group}", "Phi", 2, context_name="Physics"),
    ]


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("role", ["Teacher", "Student"])
async def test_as_many_are_counted_as_are_listed(institution: Institution, look: Look, closed: bool, role: str) -> None:
    end = NOW - timedelta(days=1) if closed else None
    course = await institution.course("Course", restrict_dates=True, conclude_at=end)
    over = await institution.section(course, restrict_dates=True, end_at=NOW - timedelta(days=1))
    coming = await institution.section(course, restrict_dates=True, start_at=NOW + timedelta(days=1))
    going_on = await institution.section(course, restrict_dates=True, end_at=NOW + timedelta(days=1))
    plain = await institution.section(course)
    states = ["active", "invited", "completed", "inactive", "deleted", "rejected", "creation_pending"]
    date_states = [None, "active", "completed", "pending_active"]
    for section in (over, coming, going_on, plain, None):
        for state, date_state, kind in product(states, date_states, ["Student", "Ta"]):
            user = await institution.user()
            await institution.enroll(course, user, kind, section=section, state=state, date_state=date_state)
    twice, gone = await institution.user(), await institution.user(state="deleted")
    await institution.enroll(course, [twice, twice, gone], section=going_on)
    viewer = await institution.user()
    await institution.enroll(course, viewer, role, section=going_on)

    (found,) = await look(viewer, "Course", types=("course",), items=True)
    listed = await look(viewer, context=f"course_{course}")
    roles = await look(viewer, context=f"course_{course}", synthetic=True, items=True)

    assert found["user_count"] == len(listed) > 10
    counts = {item["id"]: item["user_count"] for item in roles if "user_count" in item}
    assert {code: len(await look(viewer, context=code)) for code in counts} == counts


async def test_a_search_orders_contexts_by_state_type_and_name(institution: Institution, look: Look) -> None:
    viewer = await institution.user("Zoe")
    b, a = await institution.course("Bees 1"), await institution.course("ants 1")
    lately = await institution.course("Aaa 1", state="completed", conclude_at=NOW - timedelta(days=20))
    long_ago = await institution.course("Old 1", state="completed", conclude_at=NOW - timedelta(days=40))
    group = await institution.group(name="Aardvarks 1", members=[viewer])
    for course in (b, a, lately, long_ago):
        await institution.enroll(course, viewer)
    current = [f"course_{a}", f"course_{b}", f"group_{group}", f"course_{lately}"]

    assert await look(viewer, "1") == current
    assert await look(viewer, "1", include_inactive=True) == [*current, f"course_{long_ago}"]
    assert await look(viewer, "", types=("context",)) == [
        f"course_{lately}",
        f"group_{group}",
        f"course_{a}",
        f"course_{b}",
    ]


async def test_sections_are_offered_where_the_viewer_sees_more_than_one(institution: Institution, look: Look) -> None:
    single, double = await institution.course(), await institution.course()
    only = await institution.section(single)
    one, two = await institution.section(double), await institution.section(double)
    teacher, limited = await institution.users(2)
    await institution.enroll(single, teacher, "Teacher", section=only)
    await institution.enroll(double, teacher, "Teacher", section=one)
    await institution.enroll(double, limited, "Teacher", section=two, limited=True)

    assert await look(teacher, "Section", types=("section",)) == [f"section_{one}", f"section_{two}"]
    assert await look(limited, "Section", types=("section",)) == []


async def test_types_and_exclusions_leave_things_out(institution: Institution, look: Look) -> None:
    course = await institution.course("Thing")
    viewer, fellow = await institution.user("Thing One"), await institution.user("Thing Two")
    await institution.enroll(course, [viewer, fellow])
    group = await institution.group(name="Thing", members=[viewer])

    assert await look(viewer, "thing") == [f"course_{course}", f"group_{group}", viewer, fellow]
    assert await look(viewer, "thing", types=("user",)) == [viewer, fellow]
    assert await look(viewer, "thing", types=("context",)) == [f"course_{course}", f"group_{group}"]
    assert await look(viewer, "thing", types=("group", "user")) == [f"group_{group}", viewer, fellow]
    assert await look(viewer, "thing", types=("spoon",)) == []
    left = await look(viewer, "thing", excluded_users=[fellow], excluded_codes=frozenset({f"course_{course}"}))
    assert left == [f"group_{group}", viewer]


async def test_contexts_without_send_messages_can_be_dropped(institution: Institution, look: Look) -> None:
    mute, open_ = await institution.course(), await institution.course()
    viewer = await institution.user()
    await institution.enroll(mute, viewer)
    await institution.enroll(open_, viewer)
    await institution.override("send_messages", "StudentEnrollment", False, course=mute)

    assert await look(viewer, "Course") == [f"course_{mute}", f"course_{open_}"]
    assert await look(viewer, "Course", messageable_only=True) == [f"course_{open_}"]


async def test_synthetic_contexts_are_the_parts_of_a_course(institution: Institution, look: Look) -> None:
    course = await institution.course()
    one, two = await institution.section(course, "A"), await institution.section(course, "B")
    teacher, student, other = await institution.users(3)
    await institution.enroll(course, teacher, "Teacher", section=one)
    await institution.enroll(course, [student, other], section=two)
    group = await institution.group(course=course, members=[student])
    code = f"course_{course}"

    items = await look(teacher, context=code, synthetic=True, items=True)

    role = {
        "avatar_url": "https://clarion.example/images/messages/avatar-group-50.png",
        "type": "context",
        "permissions": {},
    }
    assert items == [
        {"id": f"{code}_teachers", "name": "Teachers", "user_count": 1, **role},
        {"id": f"{code}_students", "name": "Students", "user_count": 2, **role},
        {"id": f"{code}_sections", "name": "Course Sections", "type": "context", "item_count": 2},
        {"id": f"{code}_groups", "name": "Student Groups", "type": "context", "item_count": 1},
    ]
    assert await look(teacher, context=f"{code}_sections", synthetic=True) == [f"section_{one}", f"section_{two}"]
    assert await look(teacher, context=f"{code}_groups", synthetic=True) == [f"group_{group}"]
    assert await look(teacher, context=f"section_{two}", synthetic=True) == [f"section_{two}_students"]
    assert await look(teacher, context=f"{code}_students", synthetic=True) == [student, other]
    assert await look(teacher, context=code) == [teacher, student, other]
    assert await look(teacher, "Group", code, synthetic=True) == [f"group_{group}"]


async def test_the_entry_for_sections_needs_more_than_the_default_one(
    conn: asyncpg.Connection, institution: Institution, look: Look
) -> None:
    course = await institution.course()
    only = await institution.section(course)
    await conn.execute("UPDATE sections SET default_section = true WHERE id = $1", only)
    teacher = await institution.user()
    await institution.enroll(course, teacher, "Teacher", section=only)

    assert await look(teacher, context=f"course_{course}", synthetic=True) == [f"course_{course}_teachers"]


async def test_differentiation_tags_are_for_those_who_manage_them(institution: Institution, look: Look) -> None:
    course = await institution.course()
    teacher, student = await institution.users(2)
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, student)
    tag = await institution.group(course=course, name="Slow readers", members=[student], tag=True)
    code = f"course_{course}_differentiation_tags"

    assert await look(teacher, context=code, synthetic=True) == [f"differentiation_tag_{tag}"]
    assert code in await look(teacher, context=f"course_{course}", synthetic=True)
    assert await look(teacher, context=f"differentiation_tag_{tag}") == [student]
    assert await look(student, context=code, synthetic=True) == []
    assert code not in await look(student, context=f"course_{course}", synthetic=True)
    assert await look(teacher, "readers") == []


@pytest.mark.parametrize("code", ["course_9", "section_9", "group_9", "course_9_students"])
async def test_a_context_that_does_not_exist_is_not_found(institution: Institution, look: Look, code: str) -> None:
    with pytest.raises(Refusal) as refused:
        await look(await institution.user(), context=code)

    assert refused.value.code is Code.NOT_FOUND


# One user


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
    "text", ["9", "nobody", "uuid:x", "sis_user_id:", "hex:sis_user_id:zz", "lti_user_id:1", 2**63]
)
async def test_nobody_is_not_found(institution: Institution, find: Look, text: object) -> None:
    with pytest.raises(Refusal) as refused:
        await find(await institution.user(), text)

    assert refused.value.code is Code.NOT_FOUND


async def test_a_stranger_is_found_by_a_shared_conversation_only(
    institution: Institution, threads: Threads, find: Look
) -> None:
    viewer, stranger, other = await institution.users(3)
    thread = await threads.private(viewer, stranger)

    assert await find(viewer, stranger) == []
    assert await find(viewer, stranger, conversation=thread) == [stranger]
    assert await find(other, stranger, conversation=thread) == []
