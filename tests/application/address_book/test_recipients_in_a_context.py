"""Recipients narrowed by a context_code (canvas/endpoints.md 4.2)."""

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest

from service.domain.errors import Code, Refusal
from tests.support.institution import Institution
from tests.support.recipients import Resolve, enrolled


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
    admin, outsider = await institution.users(2)
    await institution.admin(admin)

    for context in (f"course_{course}", f"section_{section}"):
        assert await reached(admin, student, observer, context=context) == [student, observer]
        assert await reached(outsider, student, observer, context=context) == []
    assert await reached(admin, student, observer, context=f"group_{group}") == [student]
    assert await reached(outsider, student, context=f"group_{group}") == []


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

    assert (few, many) == (4, 4)
