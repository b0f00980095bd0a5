"""Merging user accounts: what one had is the other's (canvas/semantics.md 2.6).

A fixed number of statements, whatever the number of accounts and conversations. Locks are taken in the order of all who
write: conversations, ascending, then participant rows, ascending by conversation and user.
"""

from collections.abc import Collection

from service.domain.merge import plan
from sql import merge as merging
from sql.connection import Connection


async def merge(conn: Connection, user_ids: Collection[int]) -> None:
    """Moves all that stands under the ids of these users, as far as the directory has them merged.

    In the caller's transaction. Doing it again changes nothing. Raises what postgres.CONFLICT lists when a send met
    it: roll back, run again.
    """
    await merging.lock_merging(conn)
    heirs = await merging.heirs_of(conn, user_ids)
    if not heirs:
        return
    await merging.hand_over_updates(conn, heirs)
    conversations = await merging.lock_conversations(conn, heirs)
    planned = plan(await merging.lock_rows(conn, conversations, heirs), heirs)
    await merging.move_views(conn, planned.fates)
    await merging.rehome_messages(conn, planned.homes)
    await merging.move_rows(conn, planned.fates, planned.pairs)
    await merging.hand_over_authorship(conn, heirs, conversations.keys() - planned.homes.keys())
    await merging.recount(conn, planned.fates)


async def follow_up(conn: Connection) -> int:
    """Hands on what was under way to a user when they were merged; returns how many users had something.

    A chunk or a request that had its recipients by then delivers to the old id. Same transaction rules as merge.
    """
    found = await merging.left_behind(conn)
    if found:
        await merge(conn, found)
    return len(found)
