"""Which courses, sections and groups a search finds, and how many people they hold (canvas/endpoints.md 4.13)."""

from datetime import timedelta
from itertools import product
from typing import Any

import asyncpg
import pytest

from service.domain.errors import Code, Refusal
from tests.support.institution import Institution
from tests.support.recipients import NOW
from tests.support.searches import Look


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
@pytest.mark.parametrize("role", ["Teacher", "Student", "Observer"])
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
    for observer in (twice, await institution.user(), await institution.user()):
        await institution.enroll(course, observer, "Observer", section=plain, observing=viewer)
        await institution.enroll(course, await institution.user(), "Observer", section=plain, observing=twice)

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


async def test_inside_a_course_its_parts_are_offered_however_long_ago_it_ended(
    institution: Institution, look: Look
) -> None:
    course = await institution.course(state="completed", conclude_at=NOW - timedelta(days=40))
    teacher = await institution.user()
    sections = [await institution.section(course, name) for name in ("A", "B")]
    for section in sections:
        await institution.enroll(course, teacher, "Teacher", section=section)

    assert await look(teacher, context=f"course_{course}_sections") == [f"section_{section}" for section in sections]
    assert await look(teacher, "", types=("context",)) == []


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
