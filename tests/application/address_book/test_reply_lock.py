"""Reply lock (canvas/endpoints.md 6, CONTRACT 6.4)."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.application.address_book.reply_lock import replies_locked
from service.domain.contexts import Context, ContextType
from tests.support.institution import ROOT_ACCOUNT, Institution

NOW = datetime.now(UTC)
YESTERDAY, TOMORROW = NOW - timedelta(days=1), NOW + timedelta(days=1)

Locked = Callable[..., Awaitable[bool]]


@pytest.fixture
def locked(conn: asyncpg.Connection) -> Locked:
    """Whether a user is locked out of a conversation with others in a course (or a group)."""

    async def call(
        user: int,
        others: Sequence[int],
        *,
        course: int | None = None,
        group: int | None = None,
        to: Sequence[int] = (),
    ) -> bool:
        where = (ContextType.COURSE, course) if group is None else (ContextType.GROUP, group)
        return await replies_locked(
            conn,
            user_id=user,
            context=Context(where[0], where[1] or 0),
            participant_ids=[user, *others],
            explicit_recipients=to,
        )

    return call


async def test_without_a_context_or_with_an_account_nothing_is_locked(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    user = await institution.user()
    account = Context(ContextType.ACCOUNT, ROOT_ACCOUNT)

    for context in (None, account):
        assert not await replies_locked(
            conn, user_id=user, context=context, participant_ids=[user], explicit_recipients=[]
        )


async def test_a_context_that_is_gone_is_locked(institution: Institution, locked: Locked) -> None:
    user = await institution.user()
    course = await institution.course(state="deleted")
    await institution.enroll(course, user, "Teacher")
    group = await institution.group(members=[user], state="deleted")
    orphan = await institution.group(course=course, members=[user])

    assert await locked(user, [], course=course)
    assert await locked(user, [], course=77)
    assert await locked(user, [], group=group)
    assert await locked(user, [], group=orphan)
    assert await locked(user, [], group=77)


async def test_a_completed_course_is_locked_for_everybody(institution: Institution, locked: Locked) -> None:
    course = await institution.course(state="completed")
    teacher, student, admin = await institution.users(3)
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, student)
    await institution.admin(admin)
    group = await institution.group(course=course, members=[teacher, student])

    assert await locked(teacher, [student], course=course, to=[student])
    assert await locked(student, [teacher], course=course, to=[teacher])
    assert await locked(admin, [teacher], course=course, to=[teacher])
    assert await locked(student, [teacher], group=group, to=[teacher])


async def test_members_with_send_messages_reply(institution: Institution, locked: Locked) -> None:
    course = await institution.course()
    student, fellow, outsider, admin = await institution.users(4)
    await institution.enroll(course, [student, fellow])
    await institution.admin(admin)

    assert not await locked(student, [fellow], course=course)
    assert not await locked(admin, [fellow], course=course)
    assert await locked(outsider, [fellow], course=course)


async def test_the_wider_right_is_enough(institution: Institution, locked: Locked) -> None:
    course = await institution.course()
    student, fellow = await institution.users(2)
    await institution.enroll(course, [student, fellow])
    await institution.override("send_messages", "StudentEnrollment", False)
    assert await locked(student, [fellow], course=course)

    await institution.override("send_messages_all", "StudentEnrollment", True)

    assert not await locked(student, [fellow], course=course)


async def test_without_the_right_one_replies_by_naming_staff_who_take_part(
    institution: Institution, locked: Locked
) -> None:
    course = await institution.course()
    await institution.override("send_messages", "StudentEnrollment", False)
    student, fellow, former, invited = await institution.users(4)
    await institution.enroll(course, [student, fellow])
    await institution.enroll(course, former, "Teacher", state="completed")
    await institution.enroll(course, invited, "Teacher", state="invited")
    for role in ("Teacher", "Ta", "Designer"):
        staff = await institution.user()
        await institution.enroll(course, staff, role)

        assert await locked(student, [staff], course=course)
        assert not await locked(student, [staff], course=course, to=[staff])
        assert not await locked(student, [staff, fellow], course=course, to=[fellow, staff])
        assert await locked(student, [fellow], course=course, to=[staff])
    assert await locked(student, [fellow], course=course, to=[fellow])
    for not_yet_or_no_more in (invited, former):
        assert await locked(student, [not_yet_or_no_more], course=course, to=[not_yet_or_no_more])


async def test_an_observer_replies_when_observing_all_others(institution: Institution, locked: Locked) -> None:
    course = await institution.course()
    parent, one, two, other = await institution.users(4)
    await institution.enroll(course, [one, two, other])
    await institution.enroll(course, parent, "Observer", observing=one)
    await institution.enroll(course, parent, "Observer", observing=two)

    assert not await locked(parent, [one, two], course=course)
    assert not await locked(parent, [one], course=course)
    assert await locked(parent, [one, other], course=course)


async def test_a_concluded_enrolment_without_a_section_lasts_as_long_as_the_course(
    conn: asyncpg.Connection, institution: Institution, locked: Locked
) -> None:
    course = await institution.course()
    former, teacher = await institution.users(2)
    await institution.enroll(course, former, state="completed")
    await institution.enroll(course, teacher, "Teacher")

    assert not await locked(former, [teacher], course=course, to=[teacher])
    await conn.execute("UPDATE courses SET conclude_at = $1, restrict_enrollments_to_course_dates = true", YESTERDAY)
    assert await locked(former, [teacher], course=course, to=[teacher])


async def test_who_observes_no_one_does_not_observe_all_others_when_alone(
    institution: Institution, locked: Locked
) -> None:
    """In a monologue there are no others."""
    course = await institution.course()
    parent, child = await institution.users(2)
    await institution.enroll(course, child)
    await institution.enroll(course, parent, "Observer")

    assert await locked(parent, [], course=course)


async def test_a_concluded_student_is_locked_except_when_naming_staff(institution: Institution, locked: Locked) -> None:
    course = await institution.course()
    section = await institution.section(course)
    former, fellow, teacher = await institution.users(3)
    await institution.enroll(course, former, section=section, state="completed")
    await institution.enroll(course, fellow)
    await institution.enroll(course, teacher, "Teacher")

    assert await locked(former, [fellow], course=course, to=[fellow])
    assert not await locked(former, [teacher], course=course, to=[teacher])


async def test_when_the_course_is_over_by_date_all_are_locked(institution: Institution, locked: Locked) -> None:
    course = await institution.course(conclude_at=YESTERDAY, restrict_dates=True)
    over = await institution.section(course, end_at=YESTERDAY, restrict_dates=True)
    undated = await institution.section(course)
    await institution.section(course, end_at=TOMORROW)  # dates that do not count
    teacher, student, late, admin = await institution.users(4)
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, student, section=over)
    await institution.enroll(course, late, section=undated)
    await institution.admin(admin)

    for user in (student, late, teacher, admin):
        assert await locked(user, [teacher], course=course, to=[teacher])


async def test_a_section_that_goes_on_keeps_its_members_and_administrators_replying(
    institution: Institution, locked: Locked
) -> None:
    course = await institution.course(conclude_at=YESTERDAY, restrict_dates=True)
    longer = await institution.section(course, end_at=TOMORROW, restrict_dates=True)
    teacher, student, done, admin = await institution.users(4)
    await institution.enroll(course, teacher, "Teacher", section=longer)
    await institution.enroll(course, student, section=longer)
    await institution.enroll(course, done, section=longer, state="completed")
    await institution.admin(admin)

    assert not await locked(student, [teacher], course=course)
    assert not await locked(done, [teacher], course=course, to=[teacher])
    assert not await locked(admin, [teacher], course=course)


async def test_who_has_an_active_enrolment_state_replies_whatever_the_dates(
    institution: Institution, locked: Locked
) -> None:
    course = await institution.course(conclude_at=YESTERDAY, restrict_dates=True)
    student, teacher = await institution.users(2)
    await institution.enroll(course, student, date_state="active")
    await institution.enroll(course, teacher, "Teacher")

    assert not await locked(student, [teacher], course=course)


@pytest.mark.parametrize("state", ["inactive", "deleted", "rejected"])
async def test_enrolments_that_count_for_nothing_lock(institution: Institution, locked: Locked, state: str) -> None:
    course = await institution.course()
    user, teacher = await institution.users(2)
    await institution.enroll(course, user, state=state)
    await institution.enroll(course, teacher, "Teacher")

    assert await locked(user, [teacher], course=course, to=[teacher])


async def test_a_courses_group_follows_its_course(institution: Institution, locked: Locked) -> None:
    course = await institution.course()
    student, fellow, teacher = await institution.users(3)
    await institution.enroll(course, [student, fellow])
    await institution.enroll(course, teacher, "Teacher")
    group = await institution.group(course=course, members=[student, fellow])
    assert not await locked(student, [fellow], group=group)

    await institution.override("send_messages", "StudentEnrollment", False)

    assert await locked(student, [fellow], group=group)
    assert not await locked(student, [teacher], group=group, to=[teacher])


async def test_members_of_an_accounts_group_reply(institution: Institution, locked: Locked) -> None:
    member, former = await institution.users(2)
    group = await institution.group(members=[member])
    await institution.join(group, former, state="deleted")

    assert not await locked(member, [former], group=group)
    assert await locked(former, [member], group=group)
