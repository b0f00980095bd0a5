"""Request tags, rights by context, and whom an author instructs."""

import asyncpg

from service.application.address_book.request_tags import request_tags
from service.application.address_book.rights import load
from service.domain.contexts import Context, ContextType
from service.domain.rights import Right
from sql.address_book import instructed_by
from tests.support.institution import ROOT_ACCOUNT, Institution


async def test_request_tags_are_normalised_in_order_with_the_courses_of_groups(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    one, two, three = [await institution.course() for _ in range(3)]
    section = await institution.section(two)
    of_one, of_three = await institution.group(course=one), await institution.group(course=three)
    of_account = await institution.group()

    tags = await request_tags(
        conn,
        tags=["user_5", f"group_{of_account}", "nonsense"],
        recipients=["7", f"section_{section}_students,group_{of_one}_x", f"course_{two}"],
        context_code=f"group_{of_three}",
    )

    assert tags == (
        f"group_{of_account}",
        f"course_{two}",
        f"group_{of_one}",
        f"group_{of_three}",
        f"course_{one}",
        f"course_{three}",
    )


async def test_without_contexts_there_are_no_request_tags(conn: asyncpg.Connection, institution: Institution) -> None:
    assert await request_tags(conn, tags=[], recipients=["1", "section_77"], context_code=None) == ()
    assert await request_tags(conn, tags=[], recipients=[], context_code=f"account_{ROOT_ACCOUNT}") == ()


async def test_rights_by_context(conn: asyncpg.Connection, institution: Institution) -> None:
    faculty = await institution.account(ROOT_ACCOUNT)
    course = await institution.course(account=faculty)
    section, group = await institution.section(course), await institution.group(course=course)
    teacher, admin = await institution.users(2)
    await institution.enroll(course, teacher, "Teacher")
    await institution.admin(admin, account=faculty)
    places = {
        "course": Context(ContextType.COURSE, course),
        "section": Context(ContextType.SECTION, section),
        "group": Context(ContextType.GROUP, group),
        "faculty": Context(ContextType.ACCOUNT, faculty),
        "root": Context(ContextType.ACCOUNT, ROOT_ACCOUNT),
        "nowhere": Context(ContextType.COURSE, 77),
    }

    async def held(user: int, right: Right) -> set[str]:
        found = await load(conn, user, places.values())
        return {name for name, place in places.items() if found.may(right, place)}

    assert await held(teacher, Right.SEND_MESSAGES_ALL) == {"course", "section", "group"}
    assert await held(teacher, Right.BECOME_USER) == set()
    assert await held(admin, Right.BECOME_USER) == {"course", "section", "group", "faculty"}
    assert await held(admin, Right.MANAGE_STUDENTS) == {"course", "section", "group", "faculty"}


async def test_rights_in_a_context_are_the_same_when_it_is_asked_for_alone(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    """Whatever it lies in is loaded for it: a course, and accounts above that the administrator has no record on."""
    faculty = await institution.account(await institution.account(ROOT_ACCOUNT))
    course = await institution.course(account=faculty)
    admin = await institution.user()
    await institution.admin(admin)
    places = [
        Context(ContextType.COURSE, course),
        Context(ContextType.SECTION, await institution.section(course)),
        Context(ContextType.GROUP, await institution.group(course=course)),
        Context(ContextType.GROUP, await institution.group(account=faculty)),
        Context(ContextType.ACCOUNT, faculty),
    ]

    assert [(await load(conn, admin, [place])).may(Right.SEND_MESSAGES, place) for place in places] == [True] * 5


async def test_a_circle_of_accounts_ends(conn: asyncpg.Connection, institution: Institution) -> None:
    one = await institution.account(ROOT_ACCOUNT)
    two = await institution.account(one)
    await conn.execute("UPDATE accounts SET parent_account_id = $2 WHERE id = $1", one, two)
    admin = await institution.user()
    await institution.admin(admin, account=two)

    account = Context(ContextType.ACCOUNT, one)
    assert (await load(conn, admin, [account])).may(Right.READ_ROSTER, account)


async def test_of_two_overrides_the_newer_counts(conn: asyncpg.Connection, institution: Institution) -> None:
    course = await institution.course()
    user = await institution.user()
    await institution.enroll(course, user)
    newer = await institution.override("send_messages", "StudentEnrollment", False)
    await institution.override("send_messages", "StudentEnrollment", True)
    await conn.execute("UPDATE role_overrides SET as_of = as_of + interval '1 day' WHERE id = $1", newer)

    place = Context(ContextType.COURSE, course)
    assert not (await load(conn, user, [place])).may(Right.SEND_MESSAGES, place)


async def test_instructors_of_a_student_are_active_teachers_and_tas_of_one_of_their_courses(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    course, other = await institution.course(), await institution.course()
    teacher, ta, designer, former, student, colleague, outsider = await institution.users(7)
    await institution.enroll(course, [teacher, colleague], "Teacher")
    await institution.enroll(course, ta, "Ta")
    await institution.enroll(course, designer, "Designer")
    await institution.enroll(course, former, "Teacher", state="completed")
    await institution.enroll(course, student)
    await institution.enroll(other, outsider)
    people = [student, colleague, outsider]

    for author, expected in ((teacher, [student]), (ta, [student]), (designer, []), (former, []), (student, [])):
        assert await instructed_by(conn, author, people) == expected
