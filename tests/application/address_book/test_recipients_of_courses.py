"""What a sender sees of a course (canvas/endpoints.md 5.1)."""

import pytest

from tests.support.institution import ROOT_ACCOUNT, Institution
from tests.support.recipients import Resolve, enrolled


async def test_students_see_everybody_but_observers(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    sender = await enrolled(institution, course, "Student")
    seen = [await enrolled(institution, course, role) for role in ("Student", "Teacher", "Ta", "Designer")]
    observer = await enrolled(institution, course, "Observer")
    mine = await institution.user()
    await institution.enroll(course, mine, "Observer", observing=sender)

    assert await reached(sender, *seen, observer, mine) == [*seen, mine]
    assert await reached(sender, f"course_{course}") == [*seen, mine]


async def test_a_user_who_is_more_than_a_student_sees_observers(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    sender = await enrolled(institution, course, "Student")
    await institution.enroll(course, sender, "Ta")
    observer = await enrolled(institution, course, "Observer")

    assert await reached(sender, observer) == [observer]
    assert await reached(sender, f"course_{course}_observers") == [observer]


async def test_observers_see_instructors_and_whom_they_observe(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    teacher, ta, designer, student, child = [
        await enrolled(institution, course, role) for role in ("Teacher", "Ta", "Designer", "Student", "Student")
    ]
    parent = await institution.user()
    await institution.enroll(course, parent, "Observer", observing=child)

    assert await reached(parent, teacher, ta, designer, student, child) == [teacher, ta, child]
    assert await reached(parent, f"course_{course}") == [teacher, ta, child]
    assert await reached(parent, f"course_{course}_students") == [child]
    assert await reached(parent, f"course_{course}_tas") == [ta]
    assert await reached(parent, f"course_{course}_designers") == []


async def test_an_override_opens_the_course_to_observers(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    student = await enrolled(institution, course, "Student")
    observer = await enrolled(institution, course, "Observer")
    await institution.override("send_messages", "ObserverEnrollment", True)

    assert await reached(observer, student) == [student]


async def test_overrides_of_a_course_beat_those_of_its_accounts(institution: Institution, reached: Resolve) -> None:
    faculty = await institution.account(ROOT_ACCOUNT)
    course = await institution.course(account=faculty)
    sender, fellow = await institution.users(2)
    await institution.enroll(course, [sender, fellow])

    await institution.override("send_messages", "StudentEnrollment", False)
    denied = await reached(sender, fellow)
    await institution.override("send_messages", "StudentEnrollment", True, account=faculty)
    allowed = await reached(sender, fellow)
    await institution.override("send_messages", "StudentEnrollment", False, course=course)
    denied_again = await reached(sender, fellow)
    await institution.override("send_messages", "StudentEnrollment", True, course=course, state="deleted")

    assert (denied, allowed, denied_again) == ([], [fellow], [])
    assert await reached(sender, fellow) == []


async def test_a_section_limited_sender_sees_own_sections_only(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    mine, other, third = [await institution.section(course) for _ in range(3)]
    ta = await enrolled(institution, course, "Ta", section=mine, limited=True)
    near = await enrolled(institution, course, "Student", section=mine)
    far = await enrolled(institution, course, "Student", section=other)
    farther = await enrolled(institution, course, "Student", section=third)

    assert await reached(ta, near, far, farther) == [near]
    assert await reached(ta, f"course_{course}") == [near]
    assert await reached(ta, f"section_{other}") == []
    assert await reached(ta, f"section_{mine}") == [near]

    await institution.enroll(course, ta, "Ta", section=other, limited=False)

    assert await reached(ta, near, far, farther) == await reached(ta, f"course_{course}") == [near, far, farther]
    assert await reached(ta, f"section_{other}") == [far]
    assert await reached(ta, f"section_{third}") == [farther]


async def test_an_enrolment_that_is_over_does_not_widen_the_view_of_a_current_one(
    institution: Institution, reached: Resolve
) -> None:
    course = await institution.course()
    mine, other = await institution.section(course), await institution.section(course)
    ta = await enrolled(institution, course, "Ta", section=mine, limited=True)
    await institution.enroll(course, ta, "Ta", section=other, state="completed")
    near, far = [await enrolled(institution, course, "Student", section=section) for section in (mine, other)]

    assert await reached(ta, f"course_{course}", near, far) == [near]


async def test_an_administrator_is_not_limited_to_sections(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    mine, other = await institution.section(course), await institution.section(course)
    ta = await enrolled(institution, course, "Ta", section=mine, limited=True)
    far = await enrolled(institution, course, "Student", section=other)

    await institution.admin(ta)

    assert await reached(ta, f"course_{course}") == [far]


@pytest.mark.parametrize(
    ("state", "date_state", "counts"),
    [
        ("active", None, True),
        ("invited", None, True),
        ("creation_pending", None, False),
        ("creation_pending", "active", True),
        ("active", "invited", True),
        ("completed", None, False),
        ("inactive", None, False),
        ("rejected", None, False),
        ("deleted", "active", False),
        ("active", "completed", False),
        ("active", "pending_active", False),
    ],
)
async def test_current_and_invited_enrolments_count(
    institution: Institution, reached: Resolve, state: str, date_state: str | None, counts: bool
) -> None:
    course = await institution.course()
    teacher = await enrolled(institution, course, "Teacher")
    user = await institution.user()
    await institution.enroll(course, user, state=state, date_state=date_state)

    assert await reached(teacher, user) == [user] * counts
    assert await reached(teacher, f"course_{course}") == [user] * counts


async def test_student_view_never_counts(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    teacher = await enrolled(institution, course, "Teacher")
    fake = await enrolled(institution, course, "StudentView")
    assert await reached(fake, teacher) == []

    group = await institution.group(course=course, members=[teacher, fake])

    assert await reached(teacher, fake) == []
    assert await reached(teacher, f"course_{course}", f"group_{group}") == []


@pytest.mark.parametrize("state", ["created", "claimed"])
async def test_in_an_unpublished_course_only_staff_is_reached(
    institution: Institution, reached: Resolve, state: str
) -> None:
    course = await institution.course(state=state)
    sender = await enrolled(institution, course, "Teacher")
    staff = [await enrolled(institution, course, role) for role in ("Teacher", "Ta", "Designer")]
    others = [await enrolled(institution, course, role) for role in ("Student", "Observer")]
    group = await institution.group(course=course, members=[sender, *staff, *others])

    assert await reached(sender, *staff, *others) == staff
    assert await reached(sender, f"course_{course}") == staff
    assert await reached(sender, f"course_{course}_students") == []
    assert await reached(sender, f"group_{group}") == staff


async def test_a_completed_course_is_open_to_staff_only(institution: Institution, reached: Resolve) -> None:
    course = await institution.course(state="completed")
    teacher = await enrolled(institution, course, "Teacher")
    student, fellow = [await enrolled(institution, course, "Student") for _ in range(2)]
    gone = await institution.user()
    await institution.enroll(course, gone, state="deleted")
    group = await institution.group(course=course, members=[teacher, student, fellow])

    assert await reached(student, teacher, fellow) == []
    assert await reached(student, f"course_{course}", f"group_{group}") == []
    assert await reached(teacher, student, gone) == [student]
    assert await reached(teacher, f"course_{course}") == [student, fellow]
    assert await reached(teacher, f"group_{group}") == [student, fellow]


async def test_a_deleted_course_reaches_no_one(institution: Institution, reached: Resolve) -> None:
    course = await institution.course(state="deleted")
    teacher, student = [await enrolled(institution, course, role) for role in ("Teacher", "Student")]

    assert await reached(teacher, student, f"course_{course}") == []


async def test_a_user_whose_enrolment_is_over_reaches_the_instructors(
    institution: Institution, reached: Resolve
) -> None:
    course = await institution.course()
    teacher, student = [await enrolled(institution, course, role) for role in ("Teacher", "Student")]
    former = await institution.user()
    await institution.enroll(course, former, state="completed")

    assert await reached(former, teacher, student) == [teacher]
