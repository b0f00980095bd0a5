"""A small institution, row by row: what directory events would have left in the tables.

Ids of different kinds start apart, so that a test which mixes them up fails.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count

from sql.connection import Connection

ROOT_ACCOUNT = 1
# Later than any event a test may load on top would be wrong; earlier than all of them is right.
AS_OF = datetime(2020, 1, 1, tzinfo=UTC)


class Institution:
    """Inserts on one connection; every method returns the new id or ids."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._accounts = count(ROOT_ACCOUNT)
        self._users = count(101)
        self._courses = count(1001)
        self._sections = count(2001)
        self._groups = count(3001)
        self._attachments = count(4001)
        self._rows = count(10_001)

    async def account(
        self, parent: int | None = None, *, root: int | None = None, site_admin: bool = False, name: str = ""
    ) -> int:
        """An account below ``parent``; without a parent a root account. The first one of all has id 1."""
        made = next(self._accounts)
        root = root if parent is None else root or ROOT_ACCOUNT
        await self._conn.execute(
            "INSERT INTO accounts (id, name, parent_account_id, root_account_id, site_admin, as_of)"
            " VALUES ($1, $2, $3, $4, $5, $6)",
            made,
            name or f"Account {made}",
            parent,
            root,
            site_admin,
            AS_OF,
        )
        return made

    async def users(self, how_many: int, *, state: str = "registered") -> list[int]:
        """Many users, ids ascending, of the root account."""
        made = [next(self._users) for _ in range(how_many)]
        await self._conn.execute(
            "INSERT INTO users (id, uuid, name, short_name, sortable_name, workflow_state, created_at, as_of)"
            " SELECT id, 'uuid-' || id, 'User ' || id, 'U' || id, id || ', User', $2, $3, $3"
            " FROM unnest($1::bigint[]) AS id",
            made,
            state,
            AS_OF,
        )
        return made

    async def user(
        self,
        name: str | None = None,
        *,
        short_name: str | None = None,
        pronouns: str | None = None,
        avatar_url: str | None = None,
        state: str = "registered",
    ) -> int:
        """One user; uuid ``uuid-<id>``, name ``User <id>`` short name ``U<id>``, unless given."""
        (made,) = await self.users(1, state=state)
        await self._conn.execute(
            "UPDATE users SET name = coalesce($2, name), pronouns = $4, avatar_url = $5,"
            " short_name = CASE WHEN $3::text IS NOT NULL THEN $3 WHEN $2 IS NOT NULL THEN NULL"
            " ELSE short_name END WHERE id = $1",
            made,
            name,
            short_name,
            pronouns,
            avatar_url,
        )
        return made

    async def associate(self, users: int | Sequence[int], account: int = ROOT_ACCOUNT) -> None:
        """Make users members of an account (user_account_association_created)."""
        await self._conn.execute(
            "INSERT INTO user_accounts (user_id, account_id, as_of) SELECT u, $2, $3 FROM unnest($1::bigint[]) u",
            _many(users),
            account,
            AS_OF,
        )

    async def course(
        self,
        name: str = "",
        *,
        account: int = ROOT_ACCOUNT,
        state: str = "available",
        start_at: datetime | None = None,
        conclude_at: datetime | None = None,
        restrict_dates: bool = False,
    ) -> int:
        """A course; available, without dates."""
        made = next(self._courses)
        await self._conn.execute(
            "INSERT INTO courses (id, account_id, name, workflow_state, start_at, conclude_at,"
            " restrict_enrollments_to_course_dates, as_of) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            made,
            account,
            name or f"Course {made}",
            state,
            start_at,
            conclude_at,
            restrict_dates,
            AS_OF,
        )
        return made

    async def section(
        self,
        course: int,
        name: str = "",
        *,
        start_at: datetime | None = None,
        end_at: datetime | None = None,
        restrict_dates: bool = False,
        state: str = "active",
    ) -> int:
        """A section of a course."""
        made = next(self._sections)
        await self._conn.execute(
            "INSERT INTO sections (id, course_id, name, start_at, end_at,"
            " restrict_enrollments_to_section_dates, workflow_state, as_of)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            made,
            course,
            name or f"Section {made}",
            start_at,
            end_at,
            restrict_dates,
            state,
            AS_OF,
        )
        return made

    async def enroll(
        self,
        course: int,
        users: int | Sequence[int],
        role: str = "Student",
        *,
        section: int | None = None,
        limited: bool = False,
        observing: int | None = None,
        state: str = "active",
        date_state: str | None = None,
    ) -> list[int]:
        """Enrol users; ``role`` is Student, Teacher, Ta, Designer, Observer or StudentView."""
        people = _many(users)
        made = [next(self._rows) for _ in people]
        await self._conn.execute(
            "INSERT INTO enrollments (id, user_id, course_id, section_id, type, associated_user_id,"
            " limit_privileges_to_course_section, workflow_state, as_of, date_state)"
            " SELECT e.id, e.user_id, $3, $4, $5, $6, $7, $8, $9, $10"
            " FROM unnest($1::bigint[], $2::bigint[]) AS e (id, user_id)",
            made,
            people,
            course,
            section,
            f"{role}Enrollment",
            observing,
            limited,
            state,
            AS_OF,
            date_state,
        )
        return made

    async def group(
        self,
        *,
        course: int | None = None,
        account: int = ROOT_ACCOUNT,
        name: str = "",
        members: Sequence[int] = (),
        tag: bool = False,
        state: str = "available",
    ) -> int:
        """A group of a course, or of an account when no course is given; ``tag``: a differentiation tag."""
        made = next(self._groups)
        await self._conn.execute(
            "INSERT INTO groups (id, name, context_type, context_id, account_id, non_collaborative,"
            " workflow_state, as_of) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            made,
            name or f"Group {made}",
            "Account" if course is None else "Course",
            account if course is None else course,
            account,
            tag,
            state,
            AS_OF,
        )
        if members:
            await self.join(made, members)
        return made

    async def join(self, group: int, users: int | Sequence[int], *, state: str = "accepted") -> list[int]:
        """Put users into a group."""
        people = _many(users)
        made = [next(self._rows) for _ in people]
        await self._conn.execute(
            "INSERT INTO group_memberships (id, user_id, group_id, workflow_state, as_of)"
            " SELECT m.id, m.user_id, $3, $4, $5"
            " FROM unnest($1::bigint[], $2::bigint[]) AS m (id, user_id)",
            made,
            people,
            group,
            state,
            AS_OF,
        )
        return made

    async def admin(
        self, user: int, *, account: int = ROOT_ACCOUNT, role: str = "AccountAdmin", state: str = "active"
    ) -> int:
        """An administrator record."""
        made = next(self._rows)
        await self._conn.execute(
            "INSERT INTO account_users (id, account_id, user_id, role, workflow_state, as_of)"
            " VALUES ($1, $2, $3, $4, $5, $6)",
            made,
            account,
            user,
            role,
            state,
            AS_OF,
        )
        return made

    async def override(
        self,
        permission: str,
        role: str,
        enabled: bool,
        *,
        course: int | None = None,
        account: int = ROOT_ACCOUNT,
        state: str = "active",
    ) -> int:
        """A role override on a course, or on an account when no course is given.

        ``role`` as events give it: an enrolment type such as StudentEnrollment, or an account role.
        """
        made = next(self._rows)
        await self._conn.execute(
            "INSERT INTO role_overrides (id, context_type, context_id, role, permission, enabled,"
            " workflow_state, as_of) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            made,
            "Account" if course is None else "Course",
            account if course is None else course,
            role,
            permission,
            enabled,
            state,
            AS_OF,
        )
        return made

    async def attachment(
        self,
        user: int,
        *,
        folder: str = "conversation attachments",
        name: str = "notes.txt",
        url: str | None = None,
    ) -> int:
        """A file of a user, by default in the folder from which messages may take it."""
        made = next(self._attachments)
        await self._conn.execute(
            "INSERT INTO attachments (id, user_id, context_type, context_id, folder_id, folder_name, uuid,"
            " display_name, filename, content_type, size, url, created_at, as_of)"
            " VALUES ($1, $2, 'User', $2, 1, $3, $4, $5, $5, 'text/plain', 12, $6, $7, $7)",
            made,
            user,
            folder,
            f"file-{made}",
            name,
            url,
            AS_OF,
        )
        return made


def _many(users: int | Sequence[int]) -> list[int]:
    return [users] if isinstance(users, int) else list(users)
