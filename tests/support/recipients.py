"""Recipients resolved in short, for tests of whom a sender reaches."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

from tests.support.institution import Institution

NOW = datetime.now(UTC)
YESTERDAY, TOMORROW = NOW - timedelta(days=1), NOW + timedelta(days=1)

Resolve = Callable[..., Awaitable[list[int]]]


async def enrolled(
    institution: Institution, course: int, role: str, *, section: int | None = None, limited: bool = False
) -> int:
    """A new user with one enrolment."""
    user = await institution.user()
    await institution.enroll(course, user, role, section=section, limited=limited)
    return user
