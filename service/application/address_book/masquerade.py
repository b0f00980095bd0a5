"""Acting as another user (canvas/conventions.md 3): authorised or refused, never ignored."""

from typing import Any, NamedTuple

from service.application.address_book.recipients import accounts_with
from service.application.address_book.rights import UserRights, load
from service.domain.brackets import Repeated
from service.domain.contexts import Context, ContextType
from service.domain.errors import Code, Refusal
from service.domain.ids import localised
from service.domain.rights import Right
from service.domain.user_forms import UserForm, parse_user_form
from sql.connection import Connection
from sql.masquerade import TargetRow, find_masquerade_target, find_merged_target
from sql.participants import conversations_within


class Masquerade(NamedTuple):
    """Whom a caller acts as; ``actor``: the caller's own rights, on the root account and where the target belongs."""

    target: TargetRow
    actor: UserRights


async def find_user(conn: Connection, text: str) -> TargetRow:
    """The user of that name, in any form of conventions.md 7 but ``self``; Refusal(BAD_AS_USER) when there is none."""
    form = parse_user_form(text, None)
    found = await _find(conn, form)
    if found is None:
        raise await _unknown(conn, form)
    return found


async def _find(conn: Connection, form: UserForm | None) -> TargetRow | None:
    return await find_masquerade_target(conn, **form._asdict()) if form else None


async def _unknown(conn: Connection, form: UserForm | None) -> Refusal:
    """Of a user who was merged it says into whom."""
    merged_into = await find_merged_target(conn, **form._asdict()) if form else None
    return Refusal(Code.BAD_AS_USER, merged_into_user_id=merged_into)


def _belongs(actor: UserRights, target: TargetRow, root: Context) -> bool:
    """Whether the target is a user of the root account. One of whom no account is known is taken for one."""
    above = [actor.accounts.get(id_, (id_,)) for id_ in target.account_ids]
    return not above or any(root.id in chain for chain in above)


async def _may_become(conn: Connection, actor: UserRights, target: TargetRow, root: Context) -> bool:
    """Whether a holder of become_user on the root account may become this target."""
    if not _belongs(actor, target, root) and not actor.roles.site_wide(Right.BECOME_USER):
        return False
    accounts = [Context(ContextType.ACCOUNT, id_) for id_ in target.administered_account_ids]
    if all(actor.administers_fully(account) for account in accounts):
        return True
    other = await load(conn, target.user_id, accounts)
    return all(_holds_as_much(actor, other, account) for account in accounts)


def _holds_as_much(actor: UserRights, other: UserRights, account: Context) -> bool:
    """An AccountAdmin may more than any list of rights says, so nothing but the same role is as much."""
    if other.administers_fully(account) and not actor.administers_fully(account):
        return False
    return all(actor.may(right, account) or not other.may(right, account) for right in Right)


async def act_as(
    conn: Connection, *, user_id: int, as_user_id: Any, root_account_id: int, shard_id: int
) -> Masquerade | None:
    """Acting as the user that ``as_user_id`` names, in any form of conventions.md 7; None for the caller himself.

    Refusal(BAD_AS_USER) when there is no such user or ``user_id`` may not become that user: it takes the right
    become_user on the root account, to which the target has to belong unless the right is held site-wide, and of an
    administrator every right that the target holds. An empty parameter is as good as none.
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
    if target is not None and target.user_id == user_id:
        return None
    root = Context(ContextType.ACCOUNT, root_account_id)
    known = {*target.account_ids, *target.administered_account_ids} if target else set()
    actor = await load(conn, user_id, [root, *(Context(ContextType.ACCOUNT, id_) for id_ in known)])
    if not actor.may(Right.BECOME_USER, root):
        raise Refusal(Code.BAD_AS_USER)
    if target is None:
        raise await _unknown(conn, form)
    if not await _may_become(conn, actor, target, root):
        raise Refusal(Code.BAD_AS_USER)
    return Masquerade(target, actor)


async def accounts_in_reach(conn: Connection, actor: UserRights | None) -> frozenset[int] | None:
    """The accounts whose conversations a user sees who acts as another one (canvas/semantics.md 13).

    ``actor``: the rights of who really asks; None without masquerading. Returns None for all accounts.
    """
    if actor is None or actor.roles.site_wide(Right.BECOME_USER):
        return None
    return frozenset(await accounts_with(conn, actor, Right.BECOME_USER))


async def in_reach(conn: Connection, actor: UserRights | None, conversation_id: int) -> bool:
    """Whether a conversation is one of those accounts' and of no other's."""
    accounts = await accounts_in_reach(conn, actor)
    return accounts is None or bool(await conversations_within(conn, [conversation_id], accounts))
