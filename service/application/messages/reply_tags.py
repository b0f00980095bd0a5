"""Filing a message under courses and groups in a conversation that is locked (canvas/semantics.md 4.2, 4.3)."""

from collections.abc import Collection, Mapping, Sequence

from service.application.messages.tag_sets import TagSets
from service.domain import tags
from sql.connection import Connection
from sql.replies import LockedThread, Receivers
from sql.tags import codes_of_users


async def file_message(
    conn: Connection,
    tag_sets: TagSets,
    thread: LockedThread,
    *,
    request_tags: Sequence[str],
    receivers: Collection[int],
    private: bool,
) -> Receivers:
    """Tag sets of the receivers' rows and of the conversation once it has the message.

    Everybody in ``thread`` counts for what is shared, receivers or not. Messages of groups carry no tags themselves;
    that of a private conversation does, so that the rows can be recomputed when some are deleted.
    """
    users = sorted(receivers)
    codes = await codes_of_users(conn, sorted(thread.participants))
    known = await tag_sets.lists(conn, {thread.tag_set, *thread.participants.values()})
    before = known[thread.tag_set]
    tagging = tags.infer(request_tags, before, codes, users)
    rows: Mapping[int, tuple[str, ...]] = {
        user: tags.participant_tags(known[thread.participants[user]], tagging.own[user], codes[user]) for user in users
    }
    collected = tags.union(before, tagging.effective)
    # As for a first message: its own tags count when no other message is left.
    carried = tags.infer(request_tags, (), codes, ()).effective if private else ()
    numbers = await tag_sets.intern(conn, [collected, carried, *rows.values()])
    return Receivers(users, [numbers[rows[user]] for user in users], numbers[collected], numbers[carried])
