"""The institution of a run, a course at a time, made by the set."""

from dataclasses import dataclass
from itertools import count

from service.domain.tokens import hash_token, new_token
from sql.connection import Connection


@dataclass(frozen=True)
class Course:
    """A course; its students and its teacher have one range of user ids, the teacher's in the middle.

    In the middle, because a private pair is filed under its lower user id: half of the pairs fall on either side.
    """

    id: int
    teacher: int
    students: int


class Institution:
    """Inserts on one connection."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._courses = count(1)
        self._next_user = 1
        self._next_enrollment = 1

    async def open(self) -> None:
        """The root account."""
        await self._conn.execute("INSERT INTO accounts (id, name, as_of) VALUES (1, 'Root', now())")

    async def users(self, how_many: int) -> int:
        """New users; returns the first of their consecutive ids."""
        first = self._next_user
        self._next_user += how_many
        await self._conn.execute(
            "INSERT INTO users (id, uuid, name, short_name, workflow_state, created_at, as_of)"
            " SELECT u, 'uuid-' || u, 'User ' || u, 'User ' || u, 'registered', now(), now()"
            " FROM generate_series($1::bigint, $2::bigint) AS u",
            first,
            self._next_user - 1,
        )
        return first

    async def course(self, students: int) -> Course:
        """A course of new users."""
        first = await self.users(students + 1)
        return await self.course_of(list(range(first, first + students + 1)))

    async def course_of(self, members: list[int]) -> Course:
        """A course of existing users: a teacher, who is the one in the middle, and students."""
        made = Course(next(self._courses), members[len(members) // 2], len(members) - 1)
        await self._conn.execute(
            "INSERT INTO courses (id, account_id, name, workflow_state, as_of)"
            " VALUES ($1::bigint, 1, 'Course ' || $1::bigint, 'available', now())",
            made.id,
        )
        await self._conn.execute(
            "INSERT INTO sections (id, course_id, name, default_section, as_of) VALUES ($1, $1, 'Everybody', true, now())",
            made.id,
        )
        await self._conn.execute(
            "INSERT INTO enrollments (id, course_id, section_id, user_id, type, workflow_state, as_of)"
            " SELECT $4 + n, $1, $1, u, CASE u WHEN $2 THEN 'TeacherEnrollment' ELSE 'StudentEnrollment' END, 'active', now()"
            " FROM unnest($3::bigint[]) WITH ORDINALITY AS member(u, n)",
            made.id,
            made.teacher,
            members,
            self._next_enrollment,
        )
        self._next_enrollment += len(members)
        return made

    async def token(self, user_id: int) -> str:
        """A token for the API."""
        token = new_token()
        await self._conn.execute(
            "INSERT INTO access_tokens (token_hash, user_id) VALUES ($1, $2)", hash_token(token), user_id
        )
        return token
