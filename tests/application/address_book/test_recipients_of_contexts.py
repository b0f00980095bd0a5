"""Whom a course, section or group stands for (canvas/endpoints.md 4.2 and 5.2)."""

from datetime import timedelta

import pytest

from tests.support.institution import Institution
from tests.support.recipients import NOW, YESTERDAY, Resolve, enrolled


@pytest.mark.parametrize(
    ("role", "expected"),
    [
        ("", "STtDO"),
        ("_all", "STtDO"),
        ("_students", "S"),
        ("_teachers", "T"),
        ("_tas", "t"),
        ("_designers", "D"),
        ("_observers", "O"),
        ("_admins", "Tt"),
        ("_wombats", ""),
    ],
)
@pytest.mark.parametrize("kind", ["course", "section"])
async def test_roles_narrow_a_context(
    institution: Institution, reached: Resolve, kind: str, role: str, expected: str
) -> None:
    course = await institution.course()
    section = await institution.section(course)
    sender = await enrolled(institution, course, "Teacher")
    letters = {"S": "Student", "T": "Teacher", "t": "Ta", "D": "Designer", "O": "Observer"}
    users = {c: await enrolled(institution, course, name, section=section) for c, name in letters.items()}
    code = f"{kind}_{course if kind == 'course' else section}{role}"

    assert await reached(sender, code) == sorted(users[c] for c in expected)


async def test_a_section_is_only_its_own_enrolments(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    one, two = await institution.section(course), await institution.section(course)
    sender = await enrolled(institution, course, "Student", section=one)
    fellow = await enrolled(institution, course, "Student", section=one)
    other = await enrolled(institution, course, "Student", section=two)

    assert await reached(sender, f"section_{one}") == [fellow]
    assert await reached(sender, f"section_{two}") == [other]
    assert await reached(sender, f"section_{one}", f"section_{two}", fellow) == [fellow, other]


async def test_a_section_that_an_observer_is_not_in_expands_to_no_one(
    institution: Institution, reached: Resolve
) -> None:
    course = await institution.course()
    one, two = await institution.section(course), await institution.section(course)
    observer = await enrolled(institution, course, "Observer", section=one)
    near, far = [await enrolled(institution, course, "Teacher", section=section) for section in (one, two)]

    assert await reached(observer, f"section_{one}") == [near]
    assert await reached(observer, f"section_{two}") == []
    assert await reached(observer, far) == [far]


async def test_outsiders_expand_a_course_to_no_one_administrators_too(
    institution: Institution, reached: Resolve
) -> None:
    course = await institution.course()
    section = await institution.section(course)
    student = await enrolled(institution, course, "Student", section=section)
    group = await institution.group(course=course, members=[student])
    admin, outsider = await institution.users(2)
    await institution.admin(admin)

    for sender in (admin, outsider):
        assert await reached(sender, f"course_{course}", f"section_{section}", f"group_{group}") == []


@pytest.mark.parametrize("role", ["", "_students", "_wombats"])
async def test_a_group_is_its_accepted_members_whatever_the_role(
    institution: Institution, reached: Resolve, role: str
) -> None:
    course = await institution.course()
    users = await institution.users(4)
    sender, member, invited, gone = users
    await institution.enroll(course, [sender, member, invited])
    await institution.enroll(course, gone, state="completed")
    group = await institution.group(course=course, members=[sender, member, gone])
    await institution.join(group, invited, state="invited")

    assert await reached(sender, f"group_{group}{role}") == [member]


async def test_a_group_is_open_to_members_and_to_those_who_see_its_course_fully(
    institution: Institution, reached: Resolve
) -> None:
    course = await institution.course()
    section = await institution.section(course)
    teacher = await enrolled(institution, course, "Teacher")
    limited = await enrolled(institution, course, "Ta", section=section, limited=True)
    observer = await enrolled(institution, course, "Observer")
    member = await enrolled(institution, course, "Student", section=section)
    group = await institution.group(course=course, members=[member])

    assert await reached(teacher, f"group_{group}") == [member]
    assert await reached(limited, f"group_{group}") == []
    assert await reached(observer, f"group_{group}") == []


async def test_groups_of_a_course_long_over_are_open_to_members_only(
    institution: Institution, reached: Resolve
) -> None:
    long_ago = NOW - timedelta(days=40)
    for end, expected in ((long_ago, False), (YESTERDAY, True)):
        course = await institution.course(conclude_at=end)
        teacher, member, fellow = [
            await enrolled(institution, course, role) for role in ("Teacher", "Student", "Student")
        ]
        group = await institution.group(course=course, members=[member, fellow])

        assert await reached(teacher, f"group_{group}") == [member, fellow] * expected
        assert await reached(member, f"group_{group}") == [fellow]


async def test_a_course_that_denies_its_members_to_write_closes_its_groups(
    institution: Institution, reached: Resolve
) -> None:
    course = await institution.course()
    sender, fellow = await institution.users(2)
    await institution.enroll(course, [sender, fellow])
    group = await institution.group(course=course, members=[sender, fellow])
    assert await reached(sender, f"group_{group}") == [fellow]

    await institution.override("send_messages", "StudentEnrollment", False)

    assert await reached(sender, f"group_{group}") == []
    assert await reached(sender, fellow, context=f"group_{group}") == []
    assert await reached(sender, fellow) == [fellow]


async def test_an_accounts_group_is_open_to_members(institution: Institution, reached: Resolve) -> None:
    sender, fellow, outsider = await institution.users(3)
    group = await institution.group(members=[sender, fellow])

    assert await reached(sender, f"group_{group}") == [fellow]
    assert await reached(outsider, f"group_{group}") == []


@pytest.mark.parametrize("form", ["group_{}", "differentiation_tag_{}"])
async def test_a_differentiation_tag_is_for_those_who_manage_tags(
    institution: Institution, reached: Resolve, form: str
) -> None:
    course = await institution.course()
    near, far = await institution.section(course), await institution.section(course)
    teacher = await enrolled(institution, course, "Teacher")
    limited = await enrolled(institution, course, "Ta", section=near, limited=True)
    tagged = await enrolled(institution, course, "Student", section=near)
    distant = await enrolled(institution, course, "Student", section=far)
    tag = form.format(await institution.group(course=course, members=[tagged, distant], tag=True))

    assert await reached(teacher, tag) == [tagged, distant]
    assert await reached(limited, tag) == [tagged]
    assert await reached(tagged, tag) == []


async def test_a_plain_group_is_not_addressed_as_a_tag(institution: Institution, reached: Resolve) -> None:
    sender, fellow = await institution.users(2)
    group = await institution.group(members=[sender, fellow])

    assert await reached(sender, f"differentiation_tag_{group}") == []
