"""The codes that users hold, and whether they hold them now (canvas/semantics.md 4.2)."""

import asyncpg
import pytest

from service.domain.tags import Codes
from sql.sends import insert_send
from sql.tags import codes_of_users, intern_tag_sets, tag_sets_by_id
from tests.support.institution import Institution
from tests.support.sends import send_of


async def codes_of(conn: asyncpg.Connection, user: int) -> Codes:
    """Of one user."""
    return (await codes_of_users(conn, [user]))[user]


def holding(*codes: str, now: tuple[str, ...] | None = None) -> Codes:
    """These, ``now`` the current ones among them, all of them unless given."""
    current = codes if now is None else now
    return Codes(frozenset(codes), frozenset(current), bool(current))


async def test_of_two_enrolments_in_a_course_one_current_is_enough(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    course, user = await institution.course(), await institution.user()
    for state in ("active", "completed"):
        await institution.enroll(course, user, state=state)
    assert await codes_of(conn, user) == holding(f"course_{course}")


@pytest.mark.parametrize("state", ["completed", "deleted"])
async def test_a_group_is_over_with_its_course(conn: asyncpg.Connection, institution: Institution, state: str) -> None:
    course, user = await institution.course(state=state), await institution.user()
    group = await institution.group(course=course, members=[user])
    assert await codes_of(conn, user) == holding(f"group_{group}", now=())


async def test_a_group_of_an_account_has_nothing_to_do_with_the_course_of_that_number(
    conn: asyncpg.Connection, institution: Institution
) -> None:
    course, user = await institution.course(state="completed"), await institution.user()
    group = await institution.group(account=course, members=[user])
    assert await codes_of(conn, user) == holding(f"group_{group}")


async def test_what_gives_no_code(conn: asyncpg.Connection, institution: Institution) -> None:
    """A differentiation tag, a group that is gone or not joined yet, the fake student of a course."""
    course, user = await institution.course(), await institution.user()
    await institution.group(course=course, members=[user], tag=True)
    await institution.group(course=course, members=[user], state="deleted")
    await institution.join(await institution.group(course=course), user, state="invited")
    await institution.enroll(course, user, "StudentView")
    assert await codes_of(conn, user) == holding()


async def test_a_number_is_settled_once_the_transaction_that_gave_it_has_ended(conn: asyncpg.Connection) -> None:
    """Remembered before, it would name no list, or another one, after a rollback."""
    async with conn.transaction():
        (added,) = await intern_tag_sets(conn, [("course_1",)])
        assert await intern_tag_sets(conn, [("course_1",)]) == [added]
        codes, number, settled = added
        assert (codes, settled) == (("course_1",), False)
        assert await tag_sets_by_id(conn, [number]) == [added]
    assert await intern_tag_sets(conn, [("course_1",)]) == [(codes, number, True)]
    assert await tag_sets_by_id(conn, [number]) == [(codes, number, True)]


async def test_a_number_given_within_a_savepoint_is_not_settled_either(conn: asyncpg.Connection) -> None:
    """A request over AMQP writes within one, and all of it may be rolled back."""
    async with conn.transaction():
        await conn.execute("SELECT pg_current_xact_id()")
        async with conn.transaction():
            (added,) = await intern_tag_sets(conn, [("course_1",)])
        codes, number, settled = added
        assert (codes, settled) == (("course_1",), False)
        assert await intern_tag_sets(conn, [("course_1",)]) == [added]
        assert await tag_sets_by_id(conn, [number]) == [added]


async def test_codes_read_with_a_send_are_those_read_alone(conn: asyncpg.Connection, institution: Institution) -> None:
    course, over = await institution.course(), await institution.course(state="completed")
    both, former, without = await institution.users(3)
    for state in ("active", "completed"):
        await institution.enroll(course, both, state=state)
    await institution.enroll(over, former)
    people = [both, former, without]

    stored = await insert_send(conn, send_of(both), people)

    assert stored.codes == await codes_of_users(conn, people)
    assert stored.codes[both].active == {f"course_{course}"}
