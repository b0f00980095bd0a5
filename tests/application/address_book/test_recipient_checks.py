"""Refusals after resolution (canvas/endpoints.md 4.2 validation steps 5 to 7 and 5.4, CONTRACT 6.7 and 6.15)."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from service.application.address_book.recipient_checks import (
    check_context,
    check_not_concluded,
    check_roles,
    check_tags,
)
from service.application.address_book.recipients import sender_rights
from service.domain.contexts import Context, ContextType
from service.domain.errors import Code, Refusal
from service.domain.recipients import Recipients, parse
from tests.support.institution import ROOT_ACCOUNT, Institution

CONTEXT_REFUSED = ("context_code", "invalid")

CheckContext = Callable[[int, str | None, Sequence[int]], Awaitable[Context | tuple[str, str] | None]]


def shape_a(refusal: Refusal) -> tuple[str, str]:
    """Attribute and message of a refusal that is answered with 400 in shape A; any other is raised again."""
    if refusal.code is not Code.INVALID_ATTRIBUTE:
        raise refusal
    return refusal.attribute, refusal.message


@pytest.fixture
def checked(conn: asyncpg.Connection) -> CheckContext:
    """check_context() for a sender, a code and recipients; a refusal comes back as (attribute, message)."""

    async def call(sender: int, code: str | None, recipients: Sequence[int]) -> Context | tuple[str, str] | None:
        try:
            return await check_context(
                conn,
                await sender_rights(conn, sender, Recipients(), code),
                recipients=recipients,
                context_code=code,
                root_account_id=ROOT_ACCOUNT,
            )
        except Refusal as refusal:
            return shape_a(refusal)

    return call


@pytest.mark.parametrize("code", [None, "", "  "])
async def test_no_code_is_no_context(institution: Institution, checked: CheckContext, code: str | None) -> None:
    user = await institution.user()

    assert await checked(user, code, [user]) is None


@pytest.mark.parametrize(
    "code", ["user_1", "nonsense", "course_77", "group_77", "account_77", "course_1_students", "course_1\n"]
)
async def test_unknown_codes_are_refused(institution: Institution, checked: CheckContext, code: str) -> None:
    user = await institution.user()

    assert await checked(user, code, [user]) == CONTEXT_REFUSED


async def test_a_course_is_acceptable_to_its_members_and_administrators(
    institution: Institution, checked: CheckContext
) -> None:
    course = await institution.course()
    student, teacher, admin, outsider = await institution.users(4)
    await institution.enroll(course, student)
    await institution.enroll(course, teacher, "Teacher")
    await institution.admin(admin)
    stored = Context(ContextType.COURSE, course)

    assert await checked(student, f"course_{course}", [teacher]) == stored
    assert await checked(admin, f"course_{course}", [student]) == stored
    assert await checked(outsider, f"course_{course}", [teacher]) == CONTEXT_REFUSED


async def test_a_section_is_no_context(institution: Institution, checked: CheckContext) -> None:
    course = await institution.course()
    section = await institution.section(course)
    teacher = await institution.user()
    await institution.enroll(course, teacher, "Teacher", section=section)

    assert await checked(teacher, f"section_{section}", [teacher]) == CONTEXT_REFUSED


async def test_without_send_messages_one_writes_to_instructors_and_observees(
    institution: Institution, checked: CheckContext
) -> None:
    course = await institution.course("Chemistry")
    observer, child, teacher, ta, designer, other, former = await institution.users(7)
    await institution.enroll(course, observer, "Observer", observing=child)
    await institution.enroll(course, [child, other])
    for user, role in ((teacher, "Teacher"), (ta, "Ta"), (designer, "Designer")):
        await institution.enroll(course, user, role)
    await institution.enroll(course, former, "Teacher", state="completed")
    code = f"course_{course}"
    refused = ("Unable to send messages to users in Chemistry", "")

    assert await checked(observer, code, [teacher, ta, former, child]) == Context(ContextType.COURSE, course)
    assert await checked(observer, code, [teacher, other]) == refused
    assert await checked(observer, code, [designer]) == refused

    await institution.override("send_messages", "ObserverEnrollment", True)

    assert await checked(observer, code, [teacher, other]) == Context(ContextType.COURSE, course)


async def test_an_outsider_writing_to_others_than_instructors_is_refused_for_the_course(
    institution: Institution, checked: CheckContext
) -> None:
    course = await institution.course("Chemistry")
    outsider, student = await institution.users(2)
    await institution.enroll(course, student)

    assert await checked(outsider, f"course_{course}", [student]) == (
        "Unable to send messages to users in Chemistry",
        "",
    )


CONCLUDED = ("Course concluded", "Unable to send messages")
YESTERDAY, TOMORROW = (datetime.now(UTC) + timedelta(days=days) for days in (-1, 1))


async def concluded(conn: asyncpg.Connection, user: int, course: int) -> bool:
    """Whether the course is refused to the user as a context."""
    code = f"course_{course}"
    try:
        check_not_concluded(await sender_rights(conn, user, Recipients(), code), code)
    except Refusal as refusal:
        return shape_a(refusal) == CONCLUDED
    return False


@pytest.mark.parametrize(
    "ended",
    [{"state": "completed"}, {"conclude_at": YESTERDAY, "restrict_dates": True}],
    ids=["by its state", "by its dates"],
)
async def test_a_concluded_course_is_no_context_to_anybody(
    conn: asyncpg.Connection, institution: Institution, ended: dict[str, Any]
) -> None:
    course = await institution.course(**ended)
    student, teacher, admin, outsider = await institution.users(4)
    await institution.enroll(course, student)
    await institution.enroll(course, teacher, "Teacher")
    await institution.admin(admin)

    assert [await concluded(conn, user, course) for user in (student, teacher, admin, outsider)] == [True] * 4


async def test_a_completed_course_is_over_for_who_left_it_before(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    course, user = await institution.course(state="completed"), await institution.user()
    await institution.enroll(course, user, state="completed")

    assert await concluded(conn, user, course)


@pytest.mark.parametrize(
    "going_on",
    [{}, {"conclude_at": YESTERDAY}, {"conclude_at": TOMORROW, "restrict_dates": True}, {"state": "claimed"}],
    ids=["without dates", "dates that bind nobody", "until tomorrow", "not published"],
)
async def test_any_other_course_is_one(
    conn: asyncpg.Connection, institution: Institution, going_on: dict[str, Any]
) -> None:
    course = await institution.course(**going_on)
    teacher, admin = await institution.users(2)
    await institution.enroll(course, teacher, "Teacher")
    await institution.admin(admin)

    assert [await concluded(conn, user, course) for user in (teacher, admin)] == [False] * 2


async def test_the_dates_of_ones_own_enrolments_decide(conn: asyncpg.Connection, institution: Institution) -> None:
    """A section that goes on beyond its course, one that ended before, and an end that only an event told."""
    course = await institution.course(conclude_at=YESTERDAY, restrict_dates=True)
    longer = await institution.section(course, end_at=TOMORROW, restrict_dates=True)
    going = await institution.course()
    shorter = await institution.section(going, end_at=YESTERDAY, restrict_dates=True)
    late, early, in_both, told, by_hand, admin = await institution.users(6)
    await institution.enroll(course, late, section=longer)
    await institution.enroll(going, early, "Teacher", section=shorter)
    await institution.enroll(going, in_both, section=shorter)
    await institution.enroll(going, in_both)
    await institution.enroll(going, told, "Teacher")
    await conn.execute("UPDATE enrollments SET date_state = 'completed' WHERE user_id = $1", told)
    await institution.enroll(going, by_hand, state="completed")
    await institution.admin(admin)

    assert not await concluded(conn, late, course)
    assert await concluded(conn, admin, course)
    assert await concluded(conn, early, going)
    assert not await concluded(conn, in_both, going)
    assert await concluded(conn, told, going)
    assert not await concluded(conn, by_hand, going)
    assert not await concluded(conn, admin, going)


@pytest.mark.parametrize("code", [None, "", "nonsense", "account_1", "group_77", "course_77"])
async def test_what_is_no_course_is_not_concluded(
    conn: asyncpg.Connection, institution: Institution, code: str | None
) -> None:
    user = await institution.user()

    check_not_concluded(await sender_rights(conn, user, Recipients(), code), code)


async def test_a_group_is_acceptable_to_members_and_those_who_may_write_in_its_course(
    institution: Institution, checked: CheckContext
) -> None:
    course = await institution.course()
    member, teacher, observer, outsider = await institution.users(4)
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, observer, "Observer")
    group = await institution.group(course=course, members=[member])
    gone = await institution.group(members=[member], state="deleted")
    stored = Context(ContextType.GROUP, group)

    assert await checked(member, f"group_{group}", [member]) == stored
    assert await checked(teacher, f"group_{group}", [member]) == stored
    assert await checked(observer, f"group_{group}", [member]) == CONTEXT_REFUSED
    assert await checked(outsider, f"group_{group}", [member]) == CONTEXT_REFUSED
    assert await checked(member, f"group_{gone}", [member]) == CONTEXT_REFUSED


async def test_an_account_must_be_a_root_and_its_roster_open(institution: Institution, checked: CheckContext) -> None:
    faculty = await institution.account(ROOT_ACCOUNT)
    other_root = await institution.account()
    dean, admin, registrar, clerk, owner, student = await institution.users(6)
    await institution.admin(owner, account=other_root)
    await institution.admin(dean, account=faculty)
    await institution.admin(admin)
    await institution.admin(registrar, role="Registrar")
    await institution.admin(clerk, role="Clerk", account=faculty)
    await institution.override("read_roster", "Registrar", True)
    stored = Context(ContextType.ACCOUNT, ROOT_ACCOUNT)
    code = f"account_{ROOT_ACCOUNT}"

    assert await checked(admin, code, [student]) == stored
    assert await checked(registrar, code, [student]) == stored
    assert await checked(dean, code, [student]) == stored
    assert await checked(dean, f"account_{other_root}", [student]) == CONTEXT_REFUSED
    assert await checked(admin, f"account_{faculty}", [student]) == CONTEXT_REFUSED
    assert await checked(owner, f"account_{other_root}", [student]) == Context(ContextType.ACCOUNT, other_root)
    assert await checked(clerk, code, [student]) == CONTEXT_REFUSED
    assert await checked(student, code, [student]) == CONTEXT_REFUSED


async def test_the_hosts_account_is_a_root_before_any_event_arrived(
    conn: asyncpg.Connection, institution: Institution, checked: CheckContext
) -> None:
    admin = await institution.user()
    await institution.admin(admin)
    await conn.execute("DELETE FROM accounts")

    assert await checked(admin, f"account_{ROOT_ACCOUNT}", [admin]) == Context(ContextType.ACCOUNT, ROOT_ACCOUNT)


RESTRICTED = ("recipients", "restricted by role")


async def refused_role(conn: asyncpg.Connection, sender: int, *recipients: str) -> tuple[str, str] | None:
    try:
        check_roles(await sender_rights(conn, sender, named := parse(recipients), None), named)
    except Refusal as refusal:
        return shape_a(refusal)
    return None


@pytest.mark.parametrize("suffix", ["", "_all", "_students", "_student", "_observers"])
async def test_whole_courses_students_and_observers_take_the_wider_right(
    conn: asyncpg.Connection, institution: Institution, suffix: str
) -> None:
    course, taught = await institution.course(), await institution.course()
    user = await institution.user()
    await institution.enroll(course, user)
    await institution.enroll(taught, user, "Teacher")

    assert await refused_role(conn, user, f"course_{taught}{suffix}") is None
    assert await refused_role(conn, user, f"course_{course}{suffix}") == RESTRICTED
    assert await refused_role(conn, user, f"course_{taught}", f"7,course_{course}{suffix}") == RESTRICTED
    assert await refused_role(conn, user, f"course_77{suffix}") == RESTRICTED

    await institution.override("send_messages_all", "StudentEnrollment", True, course=course)

    assert await refused_role(conn, user, f"course_{course}{suffix}") is None


@pytest.mark.parametrize("suffix", ["_teachers", "_tas", "_designers", "_admins", "_wombats"])
async def test_other_roles_are_not_checked(conn: asyncpg.Connection, institution: Institution, suffix: str) -> None:
    course = await institution.course()
    user = await institution.user()

    assert await refused_role(conn, user, f"course_{course}{suffix}") is None


async def test_sections_groups_and_people_are_not_checked(conn: asyncpg.Connection, institution: Institution) -> None:
    course = await institution.course()
    section, group = await institution.section(course), await institution.group(course=course)
    user = await institution.user()

    codes = (f"section_{section}", f"section_{section}_students", f"group_{group}", str(user))
    assert await refused_role(conn, user, *codes) is None


async def refused_tag(
    conn: asyncpg.Connection, sender: int, *recipients: str, group: bool = False, bulk: bool = False
) -> str | None:
    try:
        known = await sender_rights(conn, sender, named := parse(recipients), None)
        check_tags(known, named, group_conversation=group, bulk_message=bulk)
    except Refusal as refusal:
        return shape_a(refusal)[0]
    return None


@pytest.mark.parametrize("form", ["group_{}", "differentiation_tag_{}"])
async def test_tags_take_the_right_to_manage_them_and_no_shared_conversation(
    conn: asyncpg.Connection, institution: Institution, form: str
) -> None:
    course = await institution.course()
    teacher, student, admin = await institution.users(3)
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, student)
    await institution.admin(admin)
    tag = form.format(await institution.group(course=course, members=[student], tag=True))

    assert await refused_tag(conn, teacher, tag) is None
    assert await refused_tag(conn, admin, tag) is None
    assert await refused_tag(conn, student, tag) == "recipients"
    assert await refused_tag(conn, teacher, tag, group=True) == "recipients"
    assert await refused_tag(conn, teacher, tag, group=True, bulk=True) is None


async def test_a_tag_of_another_course_is_answered_like_a_group_that_does_not_exist(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    """What an outsider is told must not say whether a number is a tag's."""
    outsider, member = await institution.users(2)
    tag = await institution.group(course=await institution.course(), members=[member], tag=True)
    for form in ("group_{}", "differentiation_tag_{}"):
        for more in ({}, {"group": True}):
            assert await refused_tag(conn, outsider, form.format(tag), **more) is None
            assert await refused_tag(conn, outsider, form.format(77), **more) is None


async def test_plain_groups_are_not_tags(conn: asyncpg.Connection, institution: Institution) -> None:
    user = await institution.user()
    group = await institution.group(members=[user])

    assert await refused_tag(conn, user, f"group_{group}", "group_77", "5", group=True) is None
