"""Who recipients are, and whom a sender may write to (canvas/endpoints.md 4.2 and 5, CONTRACT 6.2 to 6.7)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.application.address_book import resolve
from service.domain.errors import Code, Refusal
from tests.institution import ROOT_ACCOUNT, Institution

NOW = datetime.now(UTC)
YESTERDAY, TOMORROW = NOW - timedelta(days=1), NOW + timedelta(days=1)

Resolve = Callable[..., Awaitable[list[int]]]


@pytest.fixture
def reached(conn: asyncpg.Connection) -> Resolve:
    """resolve() with its keywords made short: who of ``recipients`` may ``sender`` write to?"""

    async def call(
        sender: int, *recipients: int | str, context: str | None = None, conversation: int | None = None
    ) -> list[int]:
        return await resolve(
            conn,
            sender_id=sender,
            recipients=[str(recipient) for recipient in recipients],
            context_code=context,
            conversation_id=conversation,
        )

    return call


async def enrolled(
    institution: Institution, course: int, role: str, *, section: int | None = None, limited: bool = False
) -> int:
    """A new user with one enrolment."""
    user = await institution.user()
    await institution.enroll(course, user, role, section=section, limited=limited)
    return user


# Individuals


async def test_a_stranger_is_not_reached(institution: Institution, reached: Resolve) -> None:
    sender, stranger = await institution.users(2)

    assert await reached(sender, stranger) == []


async def test_the_sender_alone_is_reached_and_left_out_of_company(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    sender, fellow = await institution.users(2)
    await institution.enroll(course, [sender, fellow])

    assert await reached(sender, sender) == [sender]
    assert await reached(sender, f"uuid:uuid-{sender}") == [sender]
    assert await reached(sender, sender, fellow) == [fellow]
    assert await reached(sender, sender, f"course_{course}") == [fellow]


async def test_fellow_students_are_reached_in_order_and_once(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    one, two, three = await institution.users(3)
    await institution.enroll(course, [one, two, three])

    assert await reached(one, f"{three},{two}", two, f"uuid:uuid-{three}") == [two, three]


async def test_unknown_uuids_are_dropped(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    one, two = await institution.users(2)
    await institution.enroll(course, [one, two])

    assert await reached(one, two, "uuid:nobody", "uuid:", 2**63) == [two]


@pytest.mark.parametrize("state", ["registered", "pre_registered"])
async def test_users_who_can_log_in_some_day_are_reached(
    institution: Institution, reached: Resolve, state: str
) -> None:
    course = await institution.course()
    teacher = await enrolled(institution, course, "Teacher")
    user = await institution.user(state=state)
    await institution.enroll(course, user)

    assert await reached(teacher, user) == [user]
    assert await reached(teacher, f"course_{course}_students") == [user]


@pytest.mark.parametrize("state", ["creation_pending", "deleted"])
async def test_other_users_are_not(institution: Institution, reached: Resolve, state: str) -> None:
    course = await institution.course()
    teacher = await enrolled(institution, course, "Teacher")
    user = await institution.user(state=state)
    await institution.enroll(course, user)
    group = await institution.group(course=course, members=[teacher, user])
    await institution.admin(teacher)
    await institution.associate(user)

    assert await reached(teacher, user) == []
    assert await reached(teacher, f"course_{course}", f"group_{group}") == []


async def test_a_member_who_came_before_its_user_is_reached_once_the_user_comes(
    conn: asyncpg.Connection, institution: Institution, reached: Resolve
) -> None:
    course = await institution.course()
    teacher = await enrolled(institution, course, "Teacher")
    coming = teacher + 1
    await institution.enroll(course, coming)

    before = await reached(teacher, f"course_{course}"), await reached(teacher, coming)
    assert await institution.user() == coming
    after = await reached(teacher, f"course_{course}"), await reached(teacher, coming)

    assert before == ([], [])
    assert after == ([coming], [coming])
    assert await conn.fetchval("SELECT count(*) FROM unknown_members") == 0


async def test_a_user_noted_as_unknown_in_a_race_is_reached(
    conn: asyncpg.Connection, institution: Institution, reached: Resolve
) -> None:
    course = await institution.course()
    teacher, student = await enrolled(institution, course, "Teacher"), await enrolled(institution, course, "Student")
    await conn.execute("INSERT INTO unknown_members VALUES ($1)", student)

    assert await reached(teacher, f"course_{course}") == [student]


async def test_members_of_an_own_group_are_reached(institution: Institution, reached: Resolve) -> None:
    sender, fellow, invited, outsider = await institution.users(4)
    group = await institution.group(members=[sender, fellow])
    await institution.join(group, invited, state="invited")
    await institution.group(members=[outsider])

    assert await reached(sender, fellow, invited, outsider) == [fellow]


async def test_a_deleted_group_or_membership_connects_nobody(institution: Institution, reached: Resolve) -> None:
    sender, one, two = await institution.users(3)
    await institution.group(members=[sender, one], state="deleted")
    left = await institution.group(members=[two])
    await institution.join(left, sender, state="deleted")

    assert await reached(sender, one, two) == []


async def test_a_fellow_group_member_must_still_take_part_in_the_course(
    institution: Institution, reached: Resolve
) -> None:
    course = await institution.course()
    sender, gone, there = await institution.users(3)
    await institution.override("send_messages", "StudentEnrollment", False, course=course)
    await institution.enroll(course, [sender, there])
    await institution.enroll(course, gone, state="deleted")
    group = await institution.group(course=course, members=[sender, gone, there])

    assert await reached(sender, gone, there) == [there]
    assert await reached(sender, there, context=f"course_{course}") == [there]
    assert await reached(sender, f"group_{group}") == []


async def test_a_differentiation_tag_connects_nobody(institution: Institution, reached: Resolve) -> None:
    sender, other = await institution.users(2)
    await institution.group(members=[sender, other], tag=True)

    assert await reached(sender, other) == []


async def test_roster_rights_reach_members_of_the_account_and_below(institution: Institution, reached: Resolve) -> None:
    faculty = await institution.account(ROOT_ACCOUNT)
    institute = await institution.account(faculty)
    admin, here, below, above, taught = await institution.users(5)
    await institution.admin(admin, account=faculty)
    await institution.associate(here, faculty)
    await institution.associate(below, institute)
    await institution.associate(above, ROOT_ACCOUNT)
    await institution.enroll(await institution.course(account=institute), taught)

    assert await reached(admin, here, below, above, taught) == [here, below, taught]


async def test_roster_rights_of_a_custom_role_are_granted_and_taken_by_overrides(
    institution: Institution, reached: Resolve
) -> None:
    faculty = await institution.account(ROOT_ACCOUNT)
    institute = await institution.account(faculty)
    registrar, root_member, here, below = await institution.users(4)
    await institution.admin(registrar, role="Registrar")
    for user, account in ((root_member, ROOT_ACCOUNT), (here, faculty), (below, institute)):
        await institution.associate(user, account)
    assert await reached(registrar, root_member, here, below) == []

    await institution.override("read_roster", "Registrar", True, account=faculty)
    await institution.override("read_roster", "Registrar", False, account=institute)

    assert await reached(registrar, root_member, here, below) == [here]


async def test_a_site_admin_reaches_anybody_who_exists(institution: Institution, reached: Resolve) -> None:
    site = await institution.account(site_admin=True)
    admin, stranger = await institution.users(2)
    pending = await institution.user(state="creation_pending")
    await institution.admin(admin, account=site)
    course = await institution.course()

    assert await reached(admin, stranger, pending, 999_999) == [stranger, pending]
    assert await reached(admin, stranger, context=f"course_{course}") == []


async def test_a_roster_right_granted_on_the_site_reaches_members_of_every_account(
    institution: Institution, reached: Resolve
) -> None:
    site = await institution.account(site_admin=True)
    faculty = await institution.account(ROOT_ACCOUNT)
    support, member, stranger = await institution.users(3)
    await institution.admin(support, account=site, role="Support")
    await institution.override("read_roster", "Support", True, account=site)
    await institution.associate(member, faculty)

    assert await reached(support, member, stranger) == [member]


async def test_an_administrator_whose_record_is_gone_reaches_nobody(institution: Institution, reached: Resolve) -> None:
    site = await institution.account(site_admin=True)
    admin, user = await institution.users(2)
    await institution.admin(admin, account=site, state="deleted")
    await institution.admin(admin, state="deleted")
    await institution.associate(user)

    assert await reached(admin, user) == []


async def test_participants_of_the_conversation_are_reached_by_fellow_participants(
    conn: asyncpg.Connection, institution: Institution, reached: Resolve
) -> None:
    sender, other, outsider = await institution.users(3)
    await conn.execute(
        "INSERT INTO participants (conversation_id, user_id, tag_set, message_count, unread, has_attachments,"
        " has_media_objects) SELECT 5, u, 0, 1, false, false, false FROM unnest($1::bigint[]) u",
        [sender, other],
    )

    assert await reached(sender, other, outsider, conversation=5) == [other]
    assert await reached(sender, other, conversation=6) == []
    assert await reached(outsider, other, conversation=5) == []


# What a sender sees of a course


async def test_students_see_everybody_but_observers(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    sender = await enrolled(institution, course, "Student")
    seen = [await enrolled(institution, course, role) for role in ("Student", "Teacher", "Ta", "Designer")]
    observer = await enrolled(institution, course, "Observer")
    mine = await institution.user()
    await institution.enroll(course, mine, "Observer", observing=sender)

    assert await reached(sender, *seen, observer, mine) == [*seen, mine]
    assert await reached(sender, f"course_{course}") == [*seen, mine]


async def test_somebody_who_is_more_than_a_student_sees_observers(institution: Institution, reached: Resolve) -> None:
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
    mine, other = await institution.section(course), await institution.section(course)
    ta = await enrolled(institution, course, "Ta", section=mine, limited=True)
    near = await enrolled(institution, course, "Student", section=mine)
    far = await enrolled(institution, course, "Student", section=other)

    assert await reached(ta, near, far) == [near]
    assert await reached(ta, f"course_{course}") == [near]
    assert await reached(ta, f"section_{other}") == []
    assert await reached(ta, f"section_{mine}") == [near]

    await institution.enroll(course, ta, "Ta", section=other, limited=False)

    assert await reached(ta, near, far) == [near, far]
    assert await reached(ta, f"section_{other}") == [far]


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
        ("creation_pending", None, True),
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


async def test_a_deleted_course_reaches_nobody(institution: Institution, reached: Resolve) -> None:
    course = await institution.course(state="deleted")
    teacher, student = [await enrolled(institution, course, role) for role in ("Teacher", "Student")]

    assert await reached(teacher, student, f"course_{course}") == []


async def test_somebody_whose_enrolment_is_over_reaches_the_instructors(
    institution: Institution, reached: Resolve
) -> None:
    course = await institution.course()
    teacher, student = [await enrolled(institution, course, role) for role in ("Teacher", "Student")]
    former = await institution.user()
    await institution.enroll(course, former, state="completed")

    assert await reached(former, teacher, student) == [teacher]


# Contexts


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


async def test_a_section_that_an_observer_is_not_in_expands_to_nobody(
    institution: Institution, reached: Resolve
) -> None:
    course = await institution.course()
    one, two = await institution.section(course), await institution.section(course)
    observer = await enrolled(institution, course, "Observer", section=one)
    near, far = [await enrolled(institution, course, "Teacher", section=section) for section in (one, two)]

    assert await reached(observer, f"section_{one}") == [near]
    assert await reached(observer, f"section_{two}") == []
    assert await reached(observer, far) == [far]


async def test_strangers_expand_a_course_to_nobody_administrators_too(
    institution: Institution, reached: Resolve
) -> None:
    course = await institution.course()
    section = await institution.section(course)
    student = await enrolled(institution, course, "Student", section=section)
    group = await institution.group(course=course, members=[student])
    admin, stranger = await institution.users(2)
    await institution.admin(admin)

    for sender in (admin, stranger):
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


# With a context_code


@pytest.mark.parametrize("kind", ["course", "section", "group"])
@pytest.mark.parametrize("suffix", ["", "_students"])
async def test_a_context_that_does_not_exist_is_not_found(
    institution: Institution, reached: Resolve, kind: str, suffix: str
) -> None:
    user = await institution.user()

    with pytest.raises(Refusal) as refusal:
        await reached(user, user, context=f"{kind}_77{suffix}")

    assert refusal.value.code is Code.NOT_FOUND


async def test_a_deleted_course_section_or_group_is_not_found(institution: Institution, reached: Resolve) -> None:
    course, gone = await institution.course(), await institution.course(state="deleted")
    section = await institution.section(course, state="deleted")
    user = await institution.user()
    group = await institution.group(members=[user], state="deleted")

    for code in (f"course_{gone}", f"section_{section}", f"group_{group}"):
        with pytest.raises(Refusal) as refusal:
            await reached(user, user, context=code)
        assert refusal.value.code is Code.NOT_FOUND


@pytest.mark.parametrize("code", ["account_77", "user_77", "nonsense", ""])
async def test_other_codes_do_not_narrow(institution: Institution, reached: Resolve, code: str) -> None:
    course = await institution.course()
    sender, fellow = await institution.users(2)
    await institution.enroll(course, [sender, fellow])

    assert await reached(sender, fellow, context=code) == [fellow]


async def test_individuals_are_looked_for_in_the_context_and_in_own_groups_there(
    institution: Institution, reached: Resolve
) -> None:
    course, other = await institution.course(), await institution.course()
    section, group_only = await institution.section(course), await institution.user()
    sender, here, there, in_section = await institution.users(4)
    await institution.enroll(course, [sender, here])
    await institution.enroll(course, in_section, section=section)
    await institution.enroll(other, [sender, there, group_only])
    group = await institution.group(course=course, members=[sender, here, in_section])
    await institution.group(course=other, members=[sender, group_only])
    everybody: Sequence[int] = (here, there, in_section, group_only)

    assert await reached(sender, *everybody) == sorted(everybody)
    assert await reached(sender, *everybody, context=f"course_{course}") == [here, in_section]
    assert await reached(sender, *everybody, context=f"section_{section}_students") == [here, in_section]
    assert await reached(sender, *everybody, context=f"group_{group}") == [here, in_section]


async def test_a_section_narrows_individuals_to_its_own(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    one, two = await institution.section(course), await institution.section(course)
    teacher = await enrolled(institution, course, "Teacher")
    near, far = [await enrolled(institution, course, "Student", section=section) for section in (one, two)]

    assert await reached(teacher, near, far, context=f"section_{one}") == [near]


async def test_an_administrator_reaches_individuals_of_a_course_without_being_in_it(
    institution: Institution, reached: Resolve
) -> None:
    course = await institution.course()
    section = await institution.section(course)
    student = await enrolled(institution, course, "Student", section=section)
    observer = await enrolled(institution, course, "Observer", section=section)
    group = await institution.group(course=course, members=[student])
    admin, stranger = await institution.users(2)
    await institution.admin(admin)

    for context in (f"course_{course}", f"section_{section}"):
        assert await reached(admin, student, observer, context=context) == [student, observer]
        assert await reached(stranger, student, observer, context=context) == []
    assert await reached(admin, student, observer, context=f"group_{group}") == [student]
    assert await reached(stranger, student, context=f"group_{group}") == []


async def test_roster_rights_do_not_reach_into_a_context(institution: Institution, reached: Resolve) -> None:
    course = await institution.course()
    admin, member = await institution.users(2)
    await institution.admin(admin)
    await institution.associate(member)

    assert await reached(admin, member) == [member]
    assert await reached(admin, member, context=f"course_{course}") == []


async def test_the_number_of_statements_does_not_depend_on_the_number_of_recipients(
    conn: asyncpg.Connection, institution: Institution, reached: Resolve
) -> None:
    courses = [await institution.course() for _ in range(12)]
    sender, *users = await institution.users(60)
    for course in courses:
        section = await institution.section(course)
        await institution.enroll(course, sender, "Teacher", section=section)
        await institution.enroll(course, users, section=section)
    groups = [await institution.group(course=course, members=[sender, *users]) for course in courses]
    counted: list[str] = []

    async def cost(*recipients: int | str) -> int:
        counted.clear()
        with conn.query_logger(lambda query: counted.append(query.query)):
            await reached(sender, *recipients)
            await asyncio.sleep(0)  # the driver calls the logger from the event loop's queue
        # The driver's own look at types, once per connection, is not ours.
        return sum("pg_catalog" not in query for query in counted)

    few = await cost(users[0], f"course_{courses[0]}", f"group_{groups[0]}")
    many = await cost(*users, *(f"course_{c}" for c in courses), *(f"group_{g}" for g in groups))

    assert (few, many) == (11, 11)
