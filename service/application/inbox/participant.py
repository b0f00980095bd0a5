"""Changing one's own view: of one conversation or of hundreds, always with the same statements.

Everything here runs in the caller's transaction and begins by locking the rows it will change.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TypeAlias

from service.application.messages.tag_sets import TagSets
from service.domain import participant
from service.domain.errors import Code, Refusal
from service.domain.participant import Event, Remains, State, View
from sql import administration, participants, tags
from sql.connection import Connection

Recount: TypeAlias = Callable[[View, Remains | None, int], View]


@dataclass(frozen=True, slots=True)
class Change:
    """What PUT /conversations/:id asks for; null: leave it as it is."""

    subscribed: bool | None = None
    state: State | None = None
    starred: bool | None = None


async def update_view(conn: Connection, user_id: int, conversation_id: int, change: Change) -> None:
    """Carries a change out (canvas/endpoints.md 4.5): the subscription first, so that an explicit state wins."""
    view = await _lock_one(conn, user_id, conversation_id)
    changed = view
    if change.subscribed is False:
        changed = participant.muted(view)
    elif change.subscribed:
        remains = {} if view.subscribed else await participants.remains_of(conn, user_id, [conversation_id])
        left = remains.get(conversation_id)
        changed = participant.unmuted(view, left.newest if left else None)
    if change.state is not None:
        changed = replace(changed, state=change.state)
    if change.starred is not None:
        changed = replace(changed, starred=change.starred)
    await _save(conn, user_id, [view], [changed])


async def _lock_one(conn: Connection, user_id: int, conversation_id: int) -> View:
    """Refusal(NOT_FOUND) when the user takes no part in it."""
    locked = await participants.lock_participant_rows(conn, user_id, [conversation_id])
    if not locked:
        raise Refusal(Code.NOT_FOUND)
    return locked[0]


async def _save(conn: Connection, user_id: int, before: Sequence[View], after: Sequence[View]) -> None:
    changed = [new for old, new in zip(before, after, strict=True) if new != old]
    if changed:
        await participants.save_participant_rows(conn, user_id, changed, now=datetime.now(UTC))


async def mark_all_read(conn: Connection, user_id: int) -> None:
    """Empties the unread list (canvas/endpoints.md 4.6)."""
    await participants.mark_all_read(conn, user_id, now=datetime.now(UTC))


async def apply_event(conn: Connection, user_id: int, conversation_ids: Sequence[int], event: Event) -> set[int]:
    """Does the same to many conversations, deleted ones included; returns those in which the user takes part."""
    views = await participants.lock_participant_rows(conn, user_id, conversation_ids)
    if event is Event.DESTROY:
        await participants.hide_messages(conn, user_id, [v.conversation_id for v in views], None, now=datetime.now(UTC))
    await _save(conn, user_id, views, [participant.moved(view, event) for view in views])
    return {view.conversation_id for view in views}


async def remove_messages(
    conn: Connection, tag_sets: TagSets, user_id: int, conversation_ids: Sequence[int], message_ids: Sequence[int]
) -> None:
    """Deletes messages from the user's views (canvas/endpoints.md 4.10); others see no difference.

    Messages that the user does not have are ignored.
    """
    views = await participants.lock_participant_rows(conn, user_id, conversation_ids)
    hidden = await participants.hide_messages(conn, user_id, conversation_ids, message_ids, now=datetime.now(UTC))
    await _recount(conn, tag_sets, user_id, [v for v in views if v.conversation_id in hidden], participant.recounted)


async def restore_message(
    conn: Connection, tag_sets: TagSets, user_id: int, conversation_id: int, message_id: int
) -> None:
    """Gives a user a deleted message back and counts again; Refusal(NOT_FOUND) when they take no part there."""
    view = await _lock_one(conn, user_id, conversation_id)
    await administration.restore_message(conn, conversation_id, user_id, message_id)
    await _recount(conn, tag_sets, user_id, [view], participant.restored)


async def _recount(conn: Connection, tag_sets: TagSets, user_id: int, views: Sequence[View], recount: Recount) -> None:
    """Brings locked rows into line with the messages that are left; generated ones do not outlive the last other."""
    if not views:
        return
    left = await participants.remains_of(conn, user_id, [view.conversation_id for view in views])
    gone = [view.conversation_id for view in views if view.conversation_id not in left]
    if gone:
        await participants.hide_messages(conn, user_id, gone, None, now=datetime.now(UTC))
    numbers = await _tag_sets_left(conn, tag_sets, user_id, views, left)
    after = [
        recount(view, left.get(view.conversation_id), numbers.get(view.conversation_id, view.tag_set)) for view in views
    ]
    await _save(conn, user_id, views, after)


async def _tag_sets_left(
    conn: Connection, tag_sets: TagSets, user_id: int, views: Sequence[View], left: Mapping[int, Remains]
) -> dict[int, int]:
    """New tag sets of the private conversations; group conversations keep theirs (canvas/semantics.md 4.3)."""
    private = [view for view in views if view.private and view.conversation_id in left]
    if not private:
        return {}
    met = {number for view in private for number in (view.tag_set, *left[view.conversation_id].tag_sets)}
    known = await tags.tag_sets_by_id(conn, sorted(met))
    held = (await tags.codes_of_users(conn, [user_id]))[user_id].all
    lists = {
        view.conversation_id: participant.remaining_tags(
            known[view.tag_set], [known[number] for number in left[view.conversation_id].tag_sets], held
        )
        for view in private
    }
    numbers = await tag_sets.intern(conn, lists.values())
    return {conversation_id: numbers[codes] for conversation_id, codes in lists.items()}
