"""A user as the API shows them to themselves (CONTRACT 6.19)."""

from service.application.presentation.shapes import User
from service.domain.avatars import Avatars
from sql.people import OwnUserRow


def present_user(found: OwnUserRow, avatars: Avatars, *, account_admin: bool) -> User:
    """Canvas's user object, as far as the directory knows it; ``account_admin``: with that key."""
    shown: User = {
        "id": found.id,
        "name": found.name,
        "created_at": found.created_at,
        "sortable_name": found.sortable_name,
        "short_name": found.short_name,
        "sis_user_id": found.sis_id,
        "login_id": found.login,
        "avatar_url": avatars.of_user(found.avatar_url),
        "pronouns": found.pronouns,
    }
    if account_admin:
        shown["account_admin"] = found.account_admin
    return shown
