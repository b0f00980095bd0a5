"""Moving what belongs to merged accounts, step by step (canvas/semantics.md 2.6)."""

from collections.abc import Collection, Mapping, Sequence

from service.domain.merge import Fate, Heir, Pair, Row
from service.domain.participant import State
from sql.connection import Connection
from sql.statements import text_of

_LOCK = text_of("lock_merging")
_HEIRS = text_of("heirs")
_LEFT_BEHIND = text_of("left_behind")
_HAND_OVER_UPDATES = text_of("hand_over_updates")
_LOCK_CONVERSATIONS = text_of("lock_conversations_of_merged")
_LOCK_ROWS = text_of("lock_rows_of_merged")
_MERGE_VIEWS = text_of("merge_views")
_HAND_OVER_VIEWS = text_of("hand_over_views")
_REHOME = text_of("rehome_messages")
_DROP_ROWS = text_of("drop_merged_rows")
_HAND_OVER_ROWS = text_of("hand_over_rows")
_PAIR_ANEW = text_of("pair_anew")
_HAND_OVER_AUTHORSHIP = text_of("hand_over_authorship")
_RECOUNT = text_of("recount_merged_rows")


async def lock_merging(conn: Connection) -> None:
    """Waits for merges and private sends in work; no other begins until the transaction ends."""
    await conn.execute(_LOCK)


async def heirs_of(conn: Connection, user_ids: Collection[int]) -> dict[int, Heir]:
    """The heir of each user that is merged; others, and those whose merges go round in a circle, are left out."""
    rows = await conn.fetch(_HEIRS, sorted(user_ids))
    return {row["user_id"]: Heir(row["heir_id"], row["distance"]) for row in rows if row["heir_id"] is not None}


async def left_behind(conn: Connection) -> list[int]:
    """Merged users under whose ids something was delivered after the merge, ascending."""
    return [row["id"] for row in await conn.fetch(_LEFT_BEHIND)]


async def hand_over_updates(conn: Connection, heirs: Mapping[int, Heir]) -> None:
    """Batch updates in work belong to the heirs."""
    await conn.execute(_HAND_OVER_UPDATES, *_columns(heirs))


def _columns(heirs: Mapping[int, Heir]) -> tuple[list[int], list[int]]:
    return list(heirs), [heir.user_id for heir in heirs.values()]


async def lock_conversations(conn: Connection, heirs: Mapping[int, Heir]) -> dict[int, bool]:
    """The conversations that a merge may change, locked, ascending; whether each is private."""
    rows = await conn.fetch(_LOCK_CONVERSATIONS, *_columns(heirs))
    return {row["id"]: row["private"] for row in rows}


async def lock_rows(conn: Connection, conversations: Mapping[int, bool], heirs: Mapping[int, Heir]) -> list[Row]:
    """The participant rows in locked conversations that a merge may change, locked too."""
    users = sorted({*heirs, *(heir.user_id for heir in heirs.values())})
    private = [number for number, is_private in conversations.items() if is_private]
    return [
        Row(
            conversation_id=row["conversation_id"],
            user_id=row["user_id"],
            context=row["private_context"],
            state=State.ARCHIVED if row["archived"] else State.UNREAD if row["unread"] else State.READ,
            last_message_at=row["last_message_at"],
            last_authored_at=row["last_authored_at"],
            touched_at=row["touched_at"],
            history_from=row["history_from"],
            tag_set=row["tag_set"],
            message_count=row["message_count"],
        )
        for row in await conn.fetch(_LOCK_ROWS, list(conversations), users, private)
    ]


async def move_views(conn: Connection, fates: Sequence[Fate]) -> None:
    """Which messages users have, and which they deleted. Before the rows and the messages themselves move."""
    joining = [(fate, row) for fate in fates if len(fate.sources) > 1 for row in fate.sources]
    await conn.execute(
        _MERGE_VIEWS,
        [row.conversation_id for _, row in joining],
        [row.user_id for _, row in joining],
        [fate.conversation_id for fate, _ in joining],
        [fate.user_id for fate, _ in joining],
        [fate.history_from for fate, _ in joining],
    )
    moving = [fate for fate in fates if len(fate.sources) == 1]
    await conn.execute(
        _HAND_OVER_VIEWS,
        [fate.conversation_id for fate in moving],
        [fate.sources[0].user_id for fate in moving],
        [fate.user_id for fate in moving],
    )


async def rehome_messages(conn: Connection, homes: Mapping[int, int]) -> None:
    """Dissolves conversations (keys) in others (values)."""
    await conn.execute(_REHOME, list(homes), list(homes.values()))


async def move_rows(conn: Connection, fates: Sequence[Fate], pairs: Mapping[int, Pair]) -> None:
    """Participant rows as they shall be; counts and flags follow by recount."""
    dropped = sorted((row.conversation_id, row.user_id) for fate in fates for row in fate.sources[1:])
    await conn.execute(_DROP_ROWS, [number for number, _ in dropped], [user for _, user in dropped])
    await conn.execute(
        _HAND_OVER_ROWS,
        [fate.conversation_id for fate in fates],
        [fate.sources[0].user_id for fate in fates],
        [fate.user_id for fate in fates],
        [fate.last_message_at for fate in fates],
        [fate.last_authored_at for fate in fates],
        [fate.touched_at for fate in fates],
        [fate.history_from for fate in fates],
        [fate.tag_set for fate in fates],
        [fate.state is State.UNREAD for fate in fates],
        [fate.state is State.ARCHIVED for fate in fates],
    )
    await conn.execute(
        _PAIR_ANEW,
        list(pairs),
        [pair.lower for pair in pairs.values()],
        [pair.higher for pair in pairs.values()],
        [pair.context for pair in pairs.values()],
    )


async def hand_over_authorship(conn: Connection, heirs: Mapping[int, Heir], conversations: Collection[int]) -> None:
    """What the accounts wrote in these conversations, their batches, journal entries and replies under way."""
    await conn.execute(_HAND_OVER_AUTHORSHIP, *_columns(heirs), sorted(conversations))


async def recount(conn: Connection, fates: Sequence[Fate]) -> None:
    """Counts and flags of rows made of several; when messages and authors are in place."""
    joined = [fate for fate in fates if len(fate.sources) > 1]
    await conn.execute(_RECOUNT, [fate.conversation_id for fate in joined], [fate.user_id for fate in joined])
