"""Acting as another user (canvas/conventions.md 3): authorised or refused, never ignored."""

from typing import Any

from service.application.address_book.recipients import accounts_with
from service.application.address_book.rights import load
from service.domain.brackets import Repeated
from service.domain.contexts import Context, ContextType
from service.domain.errors import Code, Refusal
from service.domain.ids import localised
from service.domain.rights import Right
from service.domain.user_forms import UserForm, parse_user_form
from sql.connection import Connection
from sql.masquerade import TargetRow, administered_accounts, find_masquerade_target


async def find_user(conn: Connection, text: str) -> TargetRow:
    """The user of that name, in any form of conventions.md 7 but ``self``; Refusal(BAD_AS_USER) when there is none."""
    return await _find(conn, parse_user_form(text, None))


async def _find(conn: Connection, form: UserForm | None) -> TargetRow:
    found = await find_masquerade_target(conn, **form._asdict()) if form else None
    if found is None:
        raise Refusal(Code.BAD_AS_USER)
    return found


async def _may_become(conn: Connection, user_id: int, target_id: int, root_account_id: int) -> bool:
    """Become_user on the root account, and where the target is an administrator all rights that the target holds."""
    root = Context(ContextType.ACCOUNT, root_account_id)
    accounts = [Context(ContextType.ACCOUNT, id_) for id_ in await administered_accounts(conn, target_id)]
    actor = await load(conn, user_id, [root, *accounts])
    if not actor.may(Right.BECOME_USER, root):
        return False
    if not accounts:
        return True
    target = await load(conn, target_id, accounts)
    return all(actor.may(right, account) or not target.may(right, account) for account in accounts for right in Right)


async def act_as(
    conn: Connection, *, user_id: int, as_user_id: Any, root_account_id: int, shard_id: int
) -> TargetRow | None:
    """The user that ``as_user_id`` names, in any form of conventions.md 7; None for the caller himself.

    Refusal(BAD_AS_USER) when there is no such user or ``user_id`` may not become that user: the right
    become_user on the root account, and every right which the target holds where it is an administrator.
    An empty parameter is as good as none.
    """
    given = as_user_id[-1] if isinstance(as_user_id, Repeated) else as_user_id
    if given is None or given == "":
        return None
    if isinstance(given, bool) or not isinstance(given, str | int):
        raise Refusal(Code.BAD_AS_USER)
    form = parse_user_form(localised(str(given), shard_id), user_id)
    if form == UserForm(user_id):
        return None
    target = await _find(conn, form)
    if target.user_id == user_id:
        return None
    if not await _may_become(conn, user_id, target.user_id, root_account_id):
        raise Refusal(Code.BAD_AS_USER)
    return target


async def accounts_in_reach(conn: Connection, real_user_id: int | None) -> frozenset[int] | None:
    """The accounts whose conversations a user sees who acts as another one (canvas/semantics.md 13).

    ``real_user_id``: the user who acts as another one; None without masquerading. Returns None for all accounts.
    """
    if real_user_id is None:
        return None
    known = await load(conn, real_user_id)
    if known.roles.site_wide(Right.BECOME_USER):
        return None
    return frozenset(await accounts_with(conn, known, Right.BECOME_USER))
