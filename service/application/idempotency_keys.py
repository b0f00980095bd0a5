"""Requests that may be repeated, over HTTP or AMQP: carried out once for each key of a user (CONTRACT 3.2 and 3.6).

The key, the effect and the answer are one transaction. So whatever is killed or cut off, and whenever, the same request
under the same key is carried out if it was not, and answered as the first time if it was.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from service.application.presentation.answer import Answer, encoded
from service.application.presentation.errors import answer_of
from service.application.transactions import committed
from service.contracts.commands import AnyCommand
from service.domain.errors import Code, Refusal
from service.domain.idempotency_keys import ATTRIBUTE
from sql.connection import Connection
from sql.idempotency_keys import KeptAnswer, claim_request, find_request, keep_answer

KEPT_FOR = timedelta(hours=24)
NOT_KEPT = frozenset({401, 409, 422, 429})  # statuses of refusals that another attempt may not meet


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """Whose key, which, and what is asked under it (service/domain/idempotency_keys.py)."""

    user_id: int
    key: str
    fingerprint: bytes


@dataclass(frozen=True, slots=True)
class Handled:
    """A request that was carried out, refused or repeated. ``commands``: about what it stored, not published yet."""

    answer: KeptAnswer
    commands: Sequence[AnyCommand] = ()
    replayed: bool = False


def kept(answer: Answer[object]) -> KeptAnswer:
    """The answer as it is kept and sent."""
    return KeptAnswer(answer.status, answer.headers, encoded(answer.body))


async def once(
    conn: Connection, asked: KeyedRequest, carry_out: Callable[[], Awaitable[Handled]], *, waits: bool
) -> Handled:
    """Carries the request out, or answers as before; committed when it returns.

    ``carry_out`` works on this connection, within the transaction, and runs again after a conflict with others. A
    Refusal that it raises undoes what it did and is the answer; one that is not kept is raised on, and leaves the key
    free. ``waits``: for a request that is in work under the key; else Refusal(KEY_IN_USE). Refusal(KEY_REUSED) where it
    was another request that had the key.
    """
    return await committed(conn, lambda: _once(conn, asked, carry_out, waits=waits))


async def _once(
    conn: Connection, asked: KeyedRequest, carry_out: Callable[[], Awaitable[Handled]], *, waits: bool
) -> Handled:
    user_id, key = asked.user_id, asked.key
    if not await claim_request(conn, user_id, key, asked.fingerprint, kept_for=KEPT_FOR, waits=waits):
        return await _repeated(conn, asked)
    try:
        async with conn.transaction():
            handled = await carry_out()
    except Refusal as refusal:
        handled = Handled(kept(answer_of(refusal)))
        if handled.answer.status in NOT_KEPT:
            raise
    await keep_answer(conn, user_id, key, handled.answer)
    return handled


async def _repeated(conn: Connection, asked: KeyedRequest) -> Handled:
    found = await find_request(conn, asked.user_id, asked.key, kept_for=KEPT_FOR)
    if found is None:
        raise Refusal(Code.KEY_IN_USE, attribute=ATTRIBUTE)
    if found.fingerprint != asked.fingerprint:
        raise Refusal(Code.KEY_REUSED, attribute=ATTRIBUTE)
    return Handled(found.answer, replayed=True)
