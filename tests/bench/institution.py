"""The institution of a run, made by the set: courses and their people, and what they have written before."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

from service.domain.tokens import hash_token, new_token
from service.runtime.ids import BLOCK
from sql.connection import Connection

_USERS = """
INSERT INTO users (id, uuid, name, short_name, workflow_state, created_at, as_of)
SELECT u, 'uuid-' || u, 'User ' || u, 'User ' || u, 'registered', now(), now()
FROM generate_series($1::bigint, $2::bigint) AS u
"""
_COURSE = """
INSERT INTO courses (id, account_id, name, workflow_state, as_of)
VALUES ($1::bigint, 1, 'Course ' || $1::bigint, 'available', now())
"""
_SECTION = """
INSERT INTO sections (id, course_id, name, default_section, as_of) VALUES ($1::bigint, $1::bigint, 'All', true, now())
"""
_ENROLLMENTS = """
INSERT INTO enrollments (id, course_id, section_id, user_id, type, workflow_state, as_of)
SELECT $4::bigint + n, $1::bigint, $1::bigint, u, $3::text, 'active', now()
FROM unnest($2::bigint[]) WITH ORDINALITY AS member(u, n)
"""
# Ids run with time, as sends would have left them: author by author, each with one send.
_THREADS = """
WITH pair AS MATERIALIZED (
    SELECT author_id, reader_id, n FROM unnest($1::bigint[], $2::bigint[]) WITH ORDINALITY AS p(author_id, reader_id, n)
), send AS (
    INSERT INTO sends (author_id, created_at, body, private, root_account_ids)
    SELECT author_id, now() - interval '1 year' + min(n) * interval '1 second', 'Hello', true, '{1}'
    FROM pair GROUP BY author_id ORDER BY min(n)
    RETURNING id, author_id, created_at
), opened AS (
    INSERT INTO conversations (id, send_id, tag_set, first_tag_set, has_attachments, has_media_objects)
    SELECT $3::bigint + n, send.id, 0, 0, false, false FROM pair JOIN send USING (author_id) ORDER BY n
)
INSERT INTO participants (conversation_id, user_id, last_message_at, last_authored_at, visible_last_authored_at,
                          private_peer_id, private_context, tag_set, message_count, unread,
                          has_attachments, has_media_objects)
SELECT $3::bigint + n, side.user_id, side.received_at, side.authored_at, side.authored_at,
       CASE WHEN side.user_id < side.peer_id THEN side.peer_id END, CASE WHEN side.user_id < side.peer_id THEN 0 END,
       0, 1, side.received_at IS NOT NULL, false, false
FROM pair
JOIN send USING (author_id)
CROSS JOIN LATERAL (VALUES
    (author_id, reader_id, NULL, created_at), (reader_id, author_id, created_at, NULL)
) AS side(user_id, peer_id, received_at, authored_at)
ORDER BY n
"""


@dataclass(frozen=True)
class Course:
    """A course with one teacher; ``students`` in ascending order."""

    id: int
    teacher: int
    students: Sequence[int]


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

    async def users(self, how_many: int) -> range:
        """The consecutive ids of new users."""
        made = range(self._next_user, self._next_user + how_many)
        self._next_user = made.stop
        await self._conn.execute(_USERS, made.start, made.stop - 1)
        return made

    async def course(self, students: int) -> Course:
        """A course of new users.

        The teacher's id is in the middle: a private pair is filed under the lower of its two user ids, so that half of
        the threads fall on either side.
        """
        people = await self.users(students + 1)
        teacher = people[students // 2]
        return await self.course_of(teacher, [person for person in people if person != teacher])

    async def course_of(self, teacher: int, students: Sequence[int]) -> Course:
        """A course of existing users."""
        made = Course(next(self._courses), teacher, students)
        await self._conn.execute(_COURSE, made.id)
        await self._conn.execute(_SECTION, made.id)
        await self._enrol(made, [teacher], "TeacherEnrollment")
        await self._enrol(made, students, "StudentEnrollment")
        return made

    async def more_teachers(self, course: Course, how_many: int) -> Sequence[Course]:
        """The course as each of so many new teachers sees it, whom no student has a thread with."""
        teachers = await self.users(how_many)
        await self._enrol(course, teachers, "TeacherEnrollment")
        return [replace(course, teacher=teacher) for teacher in teachers]

    async def _enrol(self, course: Course, people: Sequence[int], role: str) -> None:
        await self._conn.execute(_ENROLLMENTS, course.id, people, role, self._next_enrollment)
        self._next_enrollment += len(people)

    async def token(self, user_id: int) -> str:
        """A token for the API."""
        (token,) = await self.tokens([user_id])
        return token

    async def tokens(self, user_ids: Sequence[int]) -> Sequence[str]:
        """A token for each of them, in their order."""
        tokens = [new_token() for _ in user_ids]
        await self._conn.execute(
            "INSERT INTO access_tokens (token_hash, user_id) SELECT * FROM unnest($1::bytea[], $2::bigint[])",
            [hash_token(token) for token in tokens],
            user_ids,
        )
        return tokens

    async def threads(self, authors: Sequence[int], readers: Sequence[int]) -> None:
        """A private thread with one unread message for each pair; one author's pairs follow each other."""
        first = await self._conn.fetchval("SELECT nextval('id_blocks')")
        await self._conn.execute(
            "SELECT setval('id_blocks', $1::bigint)", first + len(authors) // BLOCK * BLOCK + BLOCK
        )
        await self._conn.execute(_THREADS, authors, readers, first, timeout=1800)


_GROUP = 100  # students to a teacher of the past; his id and theirs follow each other


async def with_a_past(institution: Institution, *, conversations: int, students: int) -> Course:
    """Earlier threads among twice as many new students, and a new course of every second one of them.

    The students of the course have had as many as everybody else, so the next message has to find its place among
    them, in every page of every index.
    """
    groups = students * 2 // _GROUP
    people = await institution.users(groups * (_GROUP + 1))
    teachers = people[:: _GROUP + 1]
    pupils = [person for n, person in enumerate(people) if n % (_GROUP + 1)]
    await institution.threads(
        [teachers[n * groups // conversations] for n in range(conversations)],
        [pupils[n % len(pupils)] for n in range(conversations)],
    )
    return await institution.course_of(teachers[groups // 2], pupils[::2])
