"""Batch updates: accepted at once, carried out in one transaction (canvas/endpoints.md 4.11, semantics.md 10)."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from service.application.inbox.participant import apply_event
from service.application.presentation import shapes
from service.domain import batch_updates
from service.domain.batch_updates import ProgressState
from service.domain.errors import Code, Refusal
from service.domain.ids import parse_id
from service.domain.participant import Event
from service.runtime.tracing import current_traceparent
from sql.batch_updates import Progress, cancel_progress, claim_progress, find_progress, finish_progress, insert_progress
from sql.connection import Connection
from sql.participants import conversations_within

# Longer than any id: text that is no id comes back in the final message, cut to this.
MAX_ID_LENGTH = 64

# An accepted update is commanded at once; should that be lost, the sweeper comes this much later.
UNSTARTED_AFTER = timedelta(seconds=5)

TAG = "conversation_batch_update"


def validate(conversation_ids: Sequence[Any] | None, event: str | None) -> tuple[list[str], Event]:
    """The checks of canvas/endpoints.md 4.11 in their order; raises the first Refusal. null: not an array."""
    if conversation_ids is None:
        raise _refused("conversation_ids not specified")
    if len(conversation_ids) > batch_updates.MAX_CONVERSATIONS:
        raise _refused(f"conversation batch size limit ({batch_updates.MAX_CONVERSATIONS}) exceeded")
    if event is None:
        raise _refused("event not specified")
    try:
        return [str(id_)[:MAX_ID_LENGTH] for id_ in conversation_ids], Event(event)
    except ValueError:
        raise _refused("invalid event") from None


def _refused(message: str) -> Refusal:
    return Refusal(Code.INVALID_BATCH_UPDATE, message)


async def accept(
    conn: Connection,
    user_id: int,
    conversation_ids: Sequence[str],
    event: Event,
    *,
    accounts: frozenset[int] | None = None,
) -> Progress:
    """Stores an update that passed validation, for a worker to carry out.

    ``accounts``: null, or the conversations that are not within these fail as if the user took no part in them.
    """
    return await insert_progress(
        conn,
        user_id=user_id,
        event=event,
        conversation_ids=conversation_ids,
        refused=[] if accounts is None else await _outside(conn, conversation_ids, accounts),
        patience=UNSTARTED_AFTER,
        traceparent=current_traceparent(),
    )


async def _outside(conn: Connection, conversation_ids: Sequence[str], accounts: frozenset[int]) -> list[int]:
    """Positions of what is not within the accounts."""
    asked = list(map(parse_id, conversation_ids))
    within = await conversations_within(conn, [id_ for id_ in asked if id_ is not None], accounts)
    return [position for position, id_ in enumerate(asked) if id_ not in within]


async def carry_out(conn: Connection, progress_id: int) -> ProgressState | None:
    """Does an update, or what is left of it, within the caller's transaction; returns the state at its end.

    None: finished, cancelled or unknown, so nothing was done. Another worker at the same update waits, and then finds
    it finished.
    """
    progress = await claim_progress(conn, progress_id)
    if progress is None:
        return None
    left = {
        position: parse_id(progress.conversation_ids[position])
        for position in range(progress.done, progress.total)
        if position not in progress.refused
    }
    wanted = sorted({id_ for id_ in left.values() if id_ is not None})
    found = await apply_event(conn, progress.user_id, wanted, progress.event) if wanted else set()
    refused = sorted([*progress.refused, *(position for position, id_ in left.items() if id_ not in found)])
    state = batch_updates.final_state(progress.total, len(refused))
    message = batch_updates.summary(progress.total, [progress.conversation_ids[position] for position in refused])
    await finish_progress(conn, progress_id, done=progress.total, refused=refused, state=state, message=message)
    return state


async def read(conn: Connection, user_id: int, progress_id: int) -> Progress:
    """A progress of the user's; Refusal(NOT_FOUND) for an unknown one, NOT_AUTHORISED for another user's."""
    found = await find_progress(conn, progress_id)
    if found is None:
        raise Refusal(Code.NOT_FOUND)
    if found.user_id != user_id:
        raise Refusal(Code.NOT_AUTHORISED)
    return found


async def cancel(conn: Connection, user_id: int, progress_id: int, message: str | None) -> Progress:
    """Fails a progress of the user's, whatever its state was; refuses as ``read`` does."""
    await read(conn, user_id, progress_id)
    cancelled = await cancel_progress(conn, progress_id, message)
    if cancelled is None:
        raise Refusal(Code.NOT_FOUND)
    return cancelled


def present_progress(progress: Progress, base_url: str) -> shapes.Progress:
    """The object of canvas/endpoints.md 4.14; updates of conversations have no results."""
    return {
        "id": progress.id,
        "context_id": progress.user_id,
        "context_type": "User",
        "user_id": progress.user_id,
        "tag": TAG,
        "completion": batch_updates.completion(progress.done, progress.total, progress.state),
        "workflow_state": progress.state,
        "created_at": progress.created_at,
        "updated_at": progress.updated_at,
        "message": progress.message,
        "url": f"{base_url}/api/v1/progress/{progress.id}",
    }
