"""Changes of a user's participant rows: one or hundreds of them, with the same statements.

Everything here runs in the caller's transaction and begins by locking the rows it will change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from service.application.inbox.list_conversations import list_unread
from service.application.messages.tag_sets import TagSets
from service.domain import participant
from service.domain.errors import Code, Refusal
from service.domain.participant import Event, Participant, Remains, State
from sql import administration, participants, tags
from sql.connection import Connection

Recount: TypeAlias = Callable[[Participant, Remains | None, int], Participant]


@dataclass(frozen=True, slots=True)
class Change:
    """What PUT /conversations/:id asks for; null: leave it as it is."""

    subscribed: bool | None = None
    state: State | None = None
    starred: bool | None = None


async def apply_change(conn: Connection, user_id: int, conversation_id: int, change: Change) -> None:
    """Carries a change out (canvas/endpoints.md 4.5): the subscription first, so that an explicit state wins."""
    own = await _lock_one(conn, user_id, conversation_id)
    changed = own
    if change.subscribed is False:
        changed = participant.muted(own)
    elif change.subscribed:
        remains = {} if own.subscribed else await participants.remains_of(conn, user_id, [conversation_id])
        left = remains.get(conversation_id)
        changed = participant.unmuted(own, left.newest if left else None)
    if change.state is not None:
        changed = replace(changed, state=change.state)
    if change.starred is not None:
        changed = replace(changed, starred=change.starred)
    await _save(conn, user_id, [own], [changed])


async def _lock_one(conn: Connection, user_id: int, conversation_id: int) -> Participant:
    """Refusal(NOT_FOUND) when the user takes no part in it."""
    locked = await participants.lock_participant_rows(conn, user_id, [conversation_id])
    if not locked:
        raise Refusal(Code.NOT_FOUND)
    return locked[0]


async def _save(conn: Connection, user_id: int, before: Sequence[Participant], after: Sequence[Participant]) -> None:
    changed = [new for old, new in zip(before, after, strict=True) if new != old]
    if changed:
        await participants.save_participant_rows(conn, user_id, changed)


async def mark_all_read(conn: Connection, user_id: int, *, accounts: frozenset[int] | None = None) -> None:
    """Empties the unread list (canvas/endpoints.md 4.6); ``accounts``: of what is within these, null for all."""
    if accounts is None:
        await participants.mark_all_read(conn, user_id)
    elif unread := await list_unread(conn, user_id, accounts):
        await participants.mark_all_read(conn, user_id, unread)


async def apply_event(conn: Connection, user_id: int, conversation_ids: Sequence[int], event: Event) -> set[int]:
    """Does the same to many conversations, deleted ones included; returns those in which the user takes part."""
    locked = await participants.lock_participant_rows(conn, user_id, conversation_ids)
    if event is Event.DESTROY:
        await participants.hide_messages(conn, user_id, [own.conversation_id for own in locked], None)
    await _save(conn, user_id, locked, [participant.moved(own, event) for own in locked])
    return {own.conversation_id for own in locked}


async def remove_messages(
    conn: Connection, tag_sets: TagSets, user_id: int, conversation_ids: Sequence[int], message_ids: Sequence[int]
) -> None:
    """Deletes messages for the user (canvas/endpoints.md 4.10); others see no difference.

    Messages that the user does not have are ignored.
    """
    locked = await participants.lock_participant_rows(conn, user_id, conversation_ids)
    hidden = await participants.hide_messages(conn, user_id, conversation_ids, message_ids)
    await _recount(
        conn, tag_sets, user_id, [own for own in locked if own.conversation_id in hidden], participant.recounted
    )


async def restore_message(
    conn: Connection, tag_sets: TagSets, user_id: int, conversation_id: int, message_id: int
) -> None:
    """Gives a user a deleted message back and counts again; Refusal(NOT_FOUND) when they take no part there."""
    own = await _lock_one(conn, user_id, conversation_id)
    await administration.restore_message(conn, conversation_id, user_id, message_id)
    await _recount(conn, tag_sets, user_id, [own], participant.restored)


async def _recount(
    conn: Connection, tag_sets: TagSets, user_id: int, locked: Sequence[Participant], recount: Recount
) -> None:
    """Brings locked rows into line with the messages that are left; generated ones do not outlive the last other."""
    if not locked:
        return
    left = await participants.remains_of(conn, user_id, [own.conversation_id for own in locked])
    gone = [own.conversation_id for own in locked if own.conversation_id not in left]
    if gone:
        await participants.hide_messages(conn, user_id, gone, None)
    numbers = await _tag_sets_left(conn, tag_sets, user_id, locked, left)
    after = [
        recount(own, left.get(own.conversation_id), numbers.get(own.conversation_id, own.tag_set)) for own in locked
    ]
    await _save(conn, user_id, locked, after)


async def _tag_sets_left(
    conn: Connection, tag_sets: TagSets, user_id: int, locked: Sequence[Participant], left: Mapping[int, Remains]
) -> dict[int, int]:
    """New tag sets of the private conversations; group conversations keep theirs (canvas/semantics.md 4.3)."""
    private = [own for own in locked if own.private and own.conversation_id in left]
    if not private:
        return {}
    met = {number for own in private for number in (own.tag_set, *left[own.conversation_id].tag_sets)}
    known = await tag_sets.lists(conn, met)
    held = (await tags.codes_of_users(conn, [user_id]))[user_id].all
    lists = {
        own.conversation_id: participant.remaining_tags(
            known[own.tag_set], [known[number] for number in left[own.conversation_id].tag_sets], held
        )
        for own in private
    }
    numbers = await tag_sets.intern(conn, lists.values())
    return {conversation_id: numbers[codes] for conversation_id, codes in lists.items()}
