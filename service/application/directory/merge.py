"""Merging user accounts: all of a merged account moves to its target (canvas/semantics.md 2.6).

A fixed number of statements, whatever the number of accounts and conversations. Locks are taken in the order of all who
write: conversations, ascending, then participant rows, ascending by conversation and user.
"""

from collections.abc import Collection, Sequence

from service.domain.merge import plan
from sql.connection import Connection
from sql.merge import (
    hand_over_authorship,
    hand_over_updates,
    left_behind,
    lock_conversations,
    lock_merging,
    lock_rows,
    merge_targets,
    merged_recipients,
    move_rows,
    move_views,
    recount,
    redirect_recipients,
    rehome_messages,
)


async def merge(conn: Connection, user_ids: Collection[int]) -> None:
    """Moves all that stands under the ids of these users, as far as the directory has them merged.

    In the caller's transaction. Doing it again changes nothing. Raises what postgres.CONFLICT lists after a
    conflict with a send: roll back, run again.
    """
    await lock_merging(conn)
    targets = await merge_targets(conn, user_ids)
    if not targets:
        return
    await redirect_recipients(conn, targets)
    await hand_over_updates(conn, targets)
    conversations = await lock_conversations(conn, targets)
    planned = plan(await lock_rows(conn, conversations, targets), targets)
    await move_views(conn, planned.merged_rows)
    await rehome_messages(conn, planned.homes)
    await move_rows(conn, planned.merged_rows, planned.pairs)
    await hand_over_authorship(conn, targets, conversations.keys() - planned.homes.keys())
    await recount(conn, planned.merged_rows)


async def redirect_revived(conn: Connection, chunks: Sequence[tuple[int, int]]) -> None:
    """What merges have passed over in chunks (batch id, position) that had been given up and are pending again.

    In the caller's transaction, which has called lock_merging before it locked the chunks.
    """
    await redirect_merged(conn, await merged_recipients(conn, chunks))


async def redirect_merged(conn: Connection, user_ids: Collection[int]) -> None:
    """What waits in bulk sends for those of the users who are merged goes to their targets, each once.

    In the caller's transaction, during which no merge may run.
    """
    targets = await merge_targets(conn, user_ids)
    if targets:
        await redirect_recipients(conn, targets)


async def follow_up(conn: Connection) -> int:
    """Moves what was delivered to users after they were merged; returns how many users had something.

    A chunk or a request that had its recipients by then delivers to the old id. Same transaction rules as merge.
    """
    found = await left_behind(conn)
    if found:
        await merge(conn, found)
    return len(found)
