"""Acting as another user (canvas/conventions.md 3): authorised or refused, never ignored."""

from typing import Any

from service.application.address_book.recipients import accounts_with
from service.application.address_book.rights import has_right, load
from service.domain.brackets import Repeated
from service.domain.contexts import MAX_ID, Context, ContextType
from service.domain.errors import Code, Refusal
from service.domain.rights import Right
from sql.connection import Connection
from sql.masquerade import TargetRow, administered_accounts, find_masquerade_target

# conventions.md 12: to act as an administrator takes at least those of these that the administrator has.
_RIGHTS = (
    "send_messages",
    "send_messages_all",
    "read_roster",
    "read_as_admin",
    "become_user",
    "manage_students",
    "manage_tags",
)


def _decoded(text: str) -> str:
    """The legacy form ``hex:sis_user_id:…`` writes its value in hexadecimal digits."""
    if not text.startswith("hex:"):
        return text
    kind, _, value = text.removeprefix("hex:").partition(":")
    try:
        return f"{kind}:{bytes.fromhex(value).decode()}"
    except ValueError:
        raise Refusal(Code.BAD_AS_USER) from None


async def _find(conn: Connection, text: str) -> TargetRow | None:
    if text.isascii() and text.isdigit():
        number = int(text[:20])
        return await find_masquerade_target(conn, user_id=number) if number <= MAX_ID else None
    kind, _, value = _decoded(text).partition(":")
    if not value or "\0" in value:
        return None
    return await find_masquerade_target(
        conn,
        uuid=value if kind == "uuid" else None,
        sis_id=value if kind == "sis_user_id" else None,
        login=value if kind == "sis_login_id" else None,
    )


async def find_user(conn: Connection, text: str) -> TargetRow:
    """The user of that name, in any form of conventions.md 7 but ``self``; Refusal(BAD_AS_USER) when nobody has it."""
    found = await _find(conn, text)
    if found is None:
        raise Refusal(Code.BAD_AS_USER)
    return found


async def _may_become(conn: Connection, user_id: int, target_id: int, root_account_id: int) -> bool:
    root = Context(ContextType.ACCOUNT, root_account_id)
    if not await has_right(conn, user_id=user_id, right="become_user", context=root):
        return False
    for account_id in await administered_accounts(conn, target_id):
        account = Context(ContextType.ACCOUNT, account_id)
        for right in _RIGHTS:
            theirs = await has_right(conn, user_id=target_id, right=right, context=account)
            if theirs and not await has_right(conn, user_id=user_id, right=right, context=account):
                return False
    return True


async def act_as(conn: Connection, *, user_id: int, as_user_id: Any, root_account_id: int) -> TargetRow | None:
    """The user that ``as_user_id`` names, in any form of conventions.md 7; None for the caller himself.

    Refusal(BAD_AS_USER) when there is no such user or ``user_id`` may not become that user: the right
    become_user on the root account, and every right which the target holds where it is an administrator.
    An empty parameter names nobody and is as good as none.
    """
    given = as_user_id[-1] if isinstance(as_user_id, Repeated) else as_user_id
    if given is None or given == "":
        return None
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise Refusal(Code.BAD_AS_USER)
    text = str(given).strip()
    if text in {"self", str(user_id)}:
        return None
    target = await find_user(conn, text)
    if target.user_id == user_id:
        return None
    if not await _may_become(conn, user_id, target.user_id, root_account_id):
        raise Refusal(Code.BAD_AS_USER)
    return target


async def accounts_in_reach(conn: Connection, real_user_id: int | None) -> frozenset[int] | None:
    """The accounts whose conversations somebody sees who acts as another user (canvas/semantics.md 13).

    ``real_user_id`` is who really asks, None when nobody acts for anybody. None: all accounts.
    """
    if real_user_id is None:
        return None
    known = await load(conn, real_user_id)
    if known.standing.site_wide(Right.BECOME_USER):
        return None
    return frozenset(await accounts_with(conn, known, Right.BECOME_USER))
