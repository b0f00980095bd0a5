"""Who observes whom, and the enrolments that follow from it."""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Column, Command, Many


class DueObservation(NamedTuple):
    """An enrolment as an observer as it ought to be; enrollment_id is None where there is none yet."""

    observer_id: int
    student_enrollment_id: int
    enrollment_id: int | None
    course_id: int | None
    section_id: int | None
    student_id: int
    workflow_state: str
    date_state: str | None


_PUT_OBSERVERS = Command("put_observers")
_REMOVE_OBSERVERS = Command("remove_observers")
_PUT_AGENTS = Column[int]("put_agents")
_PUT_GUARDIANS = Column[int]("put_guardians")
_OBSERVED_AMONG = Column[int]("observed_among")
_DUE = Many("due_observations", DueObservation)
_PUT_OBSERVATIONS = Column[int]("put_observations")


async def put_observers(conn: Connection, pairs: Mapping[tuple[int, int], bool]) -> None:
    """Of (observer id, student id), whether the one observes the other."""
    for statement, wanted in ((_PUT_OBSERVERS, True), (_REMOVE_OBSERVERS, False)):
        chosen = [pair for pair, active in pairs.items() if active is wanted]
        if chosen:
            observers, students = zip(*chosen, strict=True)
            await statement(conn, observer_ids=observers, student_ids=students)


async def put_agents(conn: Connection, agents: Mapping[int, Sequence[int]]) -> list[int]:
    """Whom users list as related to them, all of them; returns the students with whom something changed."""
    pairs = [(user, agent) for user, listed in agents.items() for agent in listed]
    return await _PUT_AGENTS(
        conn,
        user_ids=[user for user, _ in pairs],
        agent_ids=[agent for _, agent in pairs],
        listing_ids=list(agents),
    )


async def put_guardians(conn: Connection, guardians: Mapping[int, bool]) -> list[int]:
    """Who is a guardian and who is not; returns the students with whom that changes something."""
    return await _PUT_GUARDIANS(conn, user_ids=list(guardians), guardians=list(guardians.values()))


async def observed_among(conn: Connection, user_ids: Collection[int]) -> list[int]:
    """Those of these users whom others observe."""
    return await _OBSERVED_AMONG(conn, user_ids=list(user_ids))


async def due_observations(
    conn: Connection, enrollment_ids: Collection[int], student_ids: Collection[int]
) -> list[DueObservation]:
    """What is to change after a change of these enrolments, or of who observes these students."""
    return await _DUE(conn, enrollment_ids=list(enrollment_ids), student_ids=list(student_ids))


async def put_observations(conn: Connection, new: Sequence[DueObservation]) -> list[int]:
    """Ids for enrolments that are to be made, in their order."""
    return await _PUT_OBSERVATIONS(
        conn,
        observer_ids=[due.observer_id for due in new],
        student_enrollment_ids=[due.student_enrollment_id for due in new],
    )
