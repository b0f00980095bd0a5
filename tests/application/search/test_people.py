"""Whom a search finds (canvas/endpoints.md 4.13 and 5)."""

import unicodedata
from typing import Literal

import asyncpg
import pytest

from tests.support.institution import Institution
from tests.support.searches import Look, named

Form = Literal["NFC", "NFD"]


async def test_people_come_by_surname_as_people_sort_names(
    conn: asyncpg.Connection, institution: Institution, look: Look
) -> None:
    course = await institution.course()
    names = ["Bo Zander", "Ann Ähl", "Cy adams", "Di Berg", "Eve Adams"]
    zander, aehl, small, berg, eve = [await named(institution, conn, name) for name in names]
    zulu = await named(institution, conn, "Zoe Zulu", "Aaa, first")
    await institution.enroll(course, [zander, aehl, small, berg, eve, zulu])

    assert await look(zander, context=f"course_{course}") == [zulu, small, eve, aehl, berg, zander]


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


async def test_outsiders_deleted_and_unmessageable_people_are_not_found(institution: Institution, look: Look) -> None:
    course = await institution.course()
    viewer = await institution.user()
    deleted, pending = await institution.user(state="deleted"), await institution.user(state="creation_pending")
    await institution.user("User BrokerClient")
    fake = await institution.user("User Fake")
    await institution.enroll(course, [viewer, deleted, pending])
    await institution.enroll(course, fake, "StudentView")

    assert await look(viewer, "User") == [viewer]
    assert await look(viewer, context=f"course_{course}") == [viewer]


async def test_roles_narrow_a_context_and_unknown_words_match_no_one(institution: Institution, look: Look) -> None:
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


async def test_who_has_left_is_found_by_name_by_staff_alone_and_not_in_the_course(
    institution: Institution, look: Look
) -> None:
    course = await institution.course()
    teacher, gone, gone_ta, student = await institution.users(4)
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, gone, state="completed")
    await institution.enroll(course, gone_ta, "Ta", state="completed")
    await institution.enroll(course, student)

    assert await look(teacher, "User") == [teacher, gone, gone_ta, student]
    assert await look(student, "User") == [teacher, student]
    assert await look(student, context=f"course_{course}") == [teacher, student]
    assert await look(teacher, context=f"course_{course}") == [teacher, gone_ta, student]


async def test_in_a_concluded_course_students_do_not_find_each_other(institution: Institution, look: Look) -> None:
    course = await institution.course(state="completed")
    teacher, student, fellow = await institution.users(3)
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, [student, fellow])

    assert await look(student, "User") == [teacher]
    assert await look(teacher, "User") == [teacher, student, fellow]


async def test_an_enrolment_that_waits_for_its_account_does_not_count(institution: Institution, look: Look) -> None:
    course = await institution.course()
    teacher, waiting = await institution.users(2)
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, waiting, state="creation_pending")

    assert await look(teacher, "User") == await look(teacher, context=f"course_{course}") == [teacher]
    assert await look(waiting, "User") == []


@pytest.mark.parametrize("state", ["created", "claimed"])
async def test_a_course_that_is_not_offered_yet_shows_to_staff_and_administrators(
    institution: Institution, look: Look, state: str
) -> None:
    """Neither its name, nor its sections and groups, nor its people through it (CONTRACT 6.25)."""
    course, open_course = await institution.course("User course", state=state), await institution.course("Open")
    teacher, designer, student, observer, admin = await institution.users(5)
    one, two = await institution.section(course, "User A"), await institution.section(course, "User B")
    await institution.enroll(course, teacher, "Teacher", section=one)
    await institution.enroll(course, designer, "Designer", section=two)
    await institution.enroll(course, student, section=one)
    await institution.enroll(course, observer, "Observer", section=one, observing=student)
    group = await institution.group(course=course, name="User group", members=[teacher, student])
    await institution.admin(admin)
    contexts = [f"course_{course}", f"section_{one}", f"section_{two}", f"group_{group}"]

    assert await look(teacher, "User", types=("context",)) == contexts
    assert await look(admin, context=f"course_{course}") == [teacher, designer]
    for viewer in (student, observer):
        assert await look(viewer, "User") == []
        for code in (f"course_{course}", f"course_{course}_teachers", f"section_{one}", f"group_{group}"):
            assert await look(viewer, context=code) == await look(viewer, context=code, synthetic=True) == []
    await institution.enroll(open_course, [teacher, student], "Teacher")
    await institution.enroll(open_course, student)
    items = await look(student, "User", types=("user",), items=True)
    assert [(item["id"], list(item["common_courses"])) for item in items if item["id"] == teacher] == [
        (teacher, [str(open_course)])
    ]


@pytest.mark.parametrize("stored", ["NFC", "NFD"])
@pytest.mark.parametrize("sought", ["NFC", "NFD"])
async def test_a_letter_is_found_composed_and_decomposed(
    *, conn: asyncpg.Connection, institution: Institution, look: Look, stored: Form, sought: Form
) -> None:
    name = unicodedata.normalize(stored, "Zoë Ångström")
    course = await institution.course(name)
    viewer, found = await institution.user(), await named(institution, conn, name)
    short = await institution.user("Somebody", short_name=unicodedata.normalize(stored, "Ångi"))
    await institution.enroll(course, [viewer, found, short])

    for term in ("zoë", "Å", "ång", "strö"):
        text = unicodedata.normalize(sought, term)
        assert set(await look(viewer, text)) - {f"course_{course}"} == {found} | (
            {short} if term in ("Å", "ång") else set()
        )
        assert f"course_{course}" in await look(viewer, text)


async def test_rosters_find_members_of_accounts_and_administrators_see_into_courses(
    institution: Institution, look: Look
) -> None:
    account = await institution.account(1)
    course = await institution.course(account=account)
    admin, member, student, outsider = await institution.users(4)
    await institution.admin(admin, account=account)
    await institution.associate(member, account)
    await institution.enroll(course, student)
    await institution.associate(outsider)

    items = await look(admin, "User", items=True)

    assert {item["id"]: item["common_courses"] for item in items} == {
        member: {"0": ["FakeEnrollment"]},
        student: {"0": ["FakeEnrollment"]},
    }
    (inside,) = await look(admin, context=f"course_{course}", items=True)
    assert (inside["id"], inside["common_courses"]) == (student, {str(course): ["StudentEnrollment"]})
    assert await look(outsider, context=f"course_{course}") == []


@pytest.mark.parametrize("administrator", [False, True])
@pytest.mark.parametrize("of_course", [False, True])
@pytest.mark.parametrize("state", ["invited", "deleted"])
async def test_who_is_no_accepted_member_of_a_group_is_neither_found_nor_counted(
    institution: Institution, look: Look, state: str, *, of_course: bool, administrator: bool
) -> None:
    """Nor does who is not see its members. For an administrator, of whomever, people are looked up in another way."""
    course = await institution.course() if of_course else None
    viewer, member, other = [await institution.user(name) for name in ("Ann A", "Bob B", "Cy C")]
    group = await institution.group(course=course, name="Choir", members=[viewer, member])
    await institution.join(group, other, state=state)
    if administrator:
        await institution.admin(viewer, account=await institution.account())
    if course is not None:  # in sections of their own, so that the group alone connects them
        for user in (viewer, member, other):
            section = await institution.section(course)
            await institution.enroll(course, user, "Teacher", section=section, limited=True)

    assert await look(viewer, "", types=("user",)) == [viewer, member]
    assert await look(viewer, context=f"group_{group}") == [viewer, member]
    (choir,) = await look(viewer, "Choir", items=True, types=("group",))
    assert choir["user_count"] == 2
    assert member not in await look(other, "", types=("user",))
    assert await look(other, "Choir", types=("group",)) == []
