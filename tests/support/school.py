"""A course with a teacher and students, for tests of sending."""

from dataclasses import dataclass

from tests.support.institution import Institution


@dataclass(frozen=True)
class School:
    """Ids of the people and the course; students in ascending order."""

    course: int
    teacher: int
    students: list[int]


async def make_school(institution: Institution, students: int = 250) -> School:
    """Everybody is active in the course and in nothing else."""
    course = await institution.course("Biology")
    teacher = await institution.user("Teacher")
    people = await institution.users(students)
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, people)
    return School(course, teacher, people)
