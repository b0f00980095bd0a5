"""Moving what belongs to merged accounts, step by step (canvas/semantics.md 2.6)."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from service.domain.merge import MergedRow, MergeTarget, Pair, Row
from service.domain.participant import State
from sql.connection import Connection
from sql.statements import Column, Command, Many


class TargetRow(NamedTuple):
    """The end of a chain of merges, null for one that leads back into itself; ``distance``: its length."""

    user_id: int
    target_id: int | None
    distance: int


class LockedConversation(NamedTuple):
    """A conversation that a merge may change."""

    id: int
    private: bool


class LockedRow(NamedTuple):
    """A participant row that a merge may change."""

    conversation_id: int
    user_id: int
    private_context: int | None
    last_message_at: datetime | None
    last_authored_at: datetime | None
    touched_at: datetime | None
    history_from: datetime | None
    tag_set: int
    message_count: int
    unread: bool
    archived: bool

    def row(self) -> Row:
        """As the rules of a merge take it."""
        return Row(
            conversation_id=self.conversation_id,
            user_id=self.user_id,
            context=self.private_context,
            state=State.ARCHIVED if self.archived else State.UNREAD if self.unread else State.READ,
            last_message_at=self.last_message_at,
            last_authored_at=self.last_authored_at,
            touched_at=self.touched_at,
            history_from=self.history_from,
            tag_set=self.tag_set,
            message_count=self.message_count,
        )


_LOCK = Command("lock_merging")
_TARGETS = Many("merge_targets", TargetRow)
_LEFT_BEHIND = Column[int]("left_behind")
_HAND_OVER_UPDATES = Command("hand_over_updates")
_REDIRECT = Command("redirect_waiting_recipients")
_MERGED_RECIPIENTS = Column[int]("merged_recipients")
_LOCK_CONVERSATIONS = Many("lock_conversations_of_merged", LockedConversation)
_LOCK_ROWS = Many("lock_rows_of_merged", LockedRow)
_MERGE_VIEWS = Command("merge_views")
_HAND_OVER_VIEWS = Command("hand_over_views")
_REHOME = Command("rehome_messages")
_DROP_ROWS = Command("drop_merged_rows")
_HAND_OVER_ROWS = Command("hand_over_rows")
_PAIR_ANEW = Command("pair_anew")
_HAND_OVER_AUTHORSHIP = Command("hand_over_authorship")
_RECOUNT = Command("recount_merged_rows")


async def lock_merging(conn: Connection) -> None:
    """Waits for merges and private sends in work; no other begins until the transaction ends."""
    await _LOCK(conn)


async def merge_targets(conn: Connection, user_ids: Collection[int]) -> dict[int, MergeTarget]:
    """The target of each user that is merged; others, and those whose merges go round in a circle, are left out."""
    rows = await _TARGETS(conn, user_ids=sorted(user_ids))
    return {row.user_id: MergeTarget(row.target_id, row.distance) for row in rows if row.target_id is not None}


async def left_behind(conn: Connection) -> list[int]:
    """Merged users under whose ids something was delivered after the merge, ascending."""
    return await _LEFT_BEHIND(conn)


def _ids(targets: Mapping[int, MergeTarget]) -> list[int]:
    """Ids of the targets, parallel to those of the merged users."""
    return [target.user_id for target in targets.values()]


async def hand_over_updates(conn: Connection, targets: Mapping[int, MergeTarget]) -> None:
    """Batch updates in work belong to the targets."""
    await _HAND_OVER_UPDATES(conn, user_ids=list(targets), target_ids=_ids(targets))


async def redirect_recipients(conn: Connection, targets: Mapping[int, MergeTarget]) -> None:
    """Bulk sends in work reach the targets, each once; before any conversation is locked."""
    await _REDIRECT(conn, user_ids=list(targets), target_ids=_ids(targets))


async def merged_recipients(conn: Connection, chunks: Sequence[tuple[int, int]]) -> list[int]:
    """Merged users among the recipients of chunks (batch id, position), or merged into one of these; ascending."""
    batch_ids, positions = [batch_id for batch_id, _ in chunks], [position for _, position in chunks]
    return await _MERGED_RECIPIENTS(conn, batch_ids=batch_ids, positions=positions)


async def lock_conversations(conn: Connection, targets: Mapping[int, MergeTarget]) -> dict[int, bool]:
    """The conversations that a merge may change, locked, ascending; whether each is private."""
    return dict(await _LOCK_CONVERSATIONS(conn, user_ids=list(targets), target_ids=_ids(targets)))


async def lock_rows(
    conn: Connection, conversations: Mapping[int, bool], targets: Mapping[int, MergeTarget]
) -> list[Row]:
    """The participant rows in locked conversations that a merge may change, locked too."""
    rows = await _LOCK_ROWS(
        conn,
        conversation_ids=list(conversations),
        user_ids=sorted({*targets, *_ids(targets)}),
        private_ids=[number for number, is_private in conversations.items() if is_private],
    )
    return [row.row() for row in rows]


async def move_views(conn: Connection, merged_rows: Sequence[MergedRow]) -> None:
    """Which messages users have, and which they deleted. Before the rows and the messages themselves move."""
    joining = [(merged, row) for merged in merged_rows if len(merged.sources) > 1 for row in merged.sources]
    await _MERGE_VIEWS(
        conn,
        conversation_ids=[row.conversation_id for _, row in joining],
        user_ids=[row.user_id for _, row in joining],
        home_ids=[merged.conversation_id for merged, _ in joining],
        target_ids=[merged.user_id for merged, _ in joining],
        history_from=[merged.history_from for merged, _ in joining],
    )
    moving = [merged for merged in merged_rows if len(merged.sources) == 1]
    await _HAND_OVER_VIEWS(
        conn,
        conversation_ids=[merged.conversation_id for merged in moving],
        user_ids=[merged.sources[0].user_id for merged in moving],
        target_ids=[merged.user_id for merged in moving],
    )


async def rehome_messages(conn: Connection, homes: Mapping[int, int]) -> None:
    """Dissolves conversations (keys) in others (values)."""
    await _REHOME(conn, old_ids=list(homes), home_ids=list(homes.values()))


async def move_rows(conn: Connection, merged_rows: Sequence[MergedRow], pairs: Mapping[int, Pair]) -> None:
    """Participant rows as they shall be; counts and flags follow by recount."""
    dropped = sorted((row.conversation_id, row.user_id) for merged in merged_rows for row in merged.sources[1:])
    await _DROP_ROWS(conn, conversation_ids=[number for number, _ in dropped], user_ids=[user for _, user in dropped])
    await _HAND_OVER_ROWS(
        conn,
        conversation_ids=[merged.conversation_id for merged in merged_rows],
        user_ids=[merged.sources[0].user_id for merged in merged_rows],
        target_ids=[merged.user_id for merged in merged_rows],
        last_message_at=[merged.last_message_at for merged in merged_rows],
        last_authored_at=[merged.last_authored_at for merged in merged_rows],
        touched_at=[merged.touched_at for merged in merged_rows],
        history_from=[merged.history_from for merged in merged_rows],
        tag_sets=[merged.tag_set for merged in merged_rows],
        unread=[merged.state is State.UNREAD for merged in merged_rows],
        archived=[merged.state is State.ARCHIVED for merged in merged_rows],
    )
    await _PAIR_ANEW(
        conn,
        conversation_ids=list(pairs),
        user_ids=[pair.lower for pair in pairs.values()],
        peer_ids=[pair.higher for pair in pairs.values()],
        contexts=[pair.context for pair in pairs.values()],
    )


async def hand_over_authorship(
    conn: Connection, targets: Mapping[int, MergeTarget], conversations: Collection[int]
) -> None:
    """What the accounts wrote in these conversations, their batches, journal entries and replies under way."""
    await _HAND_OVER_AUTHORSHIP(
        conn, user_ids=list(targets), target_ids=_ids(targets), conversation_ids=sorted(conversations)
    )


async def recount(conn: Connection, merged_rows: Sequence[MergedRow]) -> None:
    """Counts and flags of rows made of several; when messages and authors are in place."""
    joined = [merged for merged in merged_rows if len(merged.sources) > 1]
    await _RECOUNT(
        conn,
        conversation_ids=[merged.conversation_id for merged in joined],
        user_ids=[merged.user_id for merged in joined],
    )
