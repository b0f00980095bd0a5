"""Which individuals a sender may write to (canvas/endpoints.md 4.2 and 5.1, CONTRACT 6.2 to 6.7)."""

import asyncpg
import pytest

from tests.support.institution import ROOT_ACCOUNT, Institution
from tests.support.recipients import Resolve, enrolled


async def test_an_outsider_is_not_reached(institution: Institution, reached: Resolve) -> None:
    sender, outsider = await institution.users(2)

    assert await reached(sender, outsider) == []


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

    assert await reached(one, two, "uuid:unknown", "uuid:", 2**63) == [two]


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


async def test_a_deleted_group_or_membership_connects_no_one(institution: Institution, reached: Resolve) -> None:
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


async def test_a_differentiation_tag_connects_no_one(institution: Institution, reached: Resolve) -> None:
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


async def test_a_site_admin_reaches_every_existing_user(institution: Institution, reached: Resolve) -> None:
    site = await institution.account(site_admin=True)
    admin, outsider = await institution.users(2)
    pending, gone = await institution.user(state="creation_pending"), await institution.user(state="deleted")
    await institution.admin(admin, account=site)
    course = await institution.course()

    assert await reached(admin, outsider, pending, gone, 999_999) == [outsider, pending]
    assert await reached(admin, outsider, context=f"course_{course}") == []


async def test_a_roster_right_granted_on_the_site_reaches_members_of_every_account(
    institution: Institution, reached: Resolve
) -> None:
    site = await institution.account(site_admin=True)
    faculty = await institution.account(ROOT_ACCOUNT)
    support, member, outsider = await institution.users(3)
    await institution.admin(support, account=site, role="Support")
    await institution.override("read_roster", "Support", True, account=site)
    await institution.associate(member, faculty)

    assert await reached(support, member, outsider) == [member]


async def test_an_administrator_whose_record_is_gone_reaches_no_one(institution: Institution, reached: Resolve) -> None:
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
