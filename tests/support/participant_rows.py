"""Participant rows as the database has them, for tests of what a message changes and what it leaves alone."""

from typing import Any

from sql.connection import Connection


async def rows(conn: Connection, conversation: int) -> dict[int, dict[str, Any]]:
    """Every participant's row by user id, with the tags spelt out as ``codes``."""
    found = await conn.fetch(
        "SELECT p.*, t.codes FROM participants p JOIN tag_sets t ON t.id = p.tag_set WHERE p.conversation_id = $1",
        conversation,
    )
    return {row["user_id"]: dict(row) for row in found}


async def messages_of(conn: Connection, conversation: int, user: int) -> list[tuple[int, str]]:
    """(id, body) of the messages a user has and has not deleted, oldest first."""
    found = await conn.fetch(
        "SELECT m.id, s.body FROM participant_messages m JOIN sends s ON s.id = m.send_id"
        " WHERE m.conversation_id = $1 AND m.user_id = $2 AND m.deleted_at IS NULL ORDER BY m.created_at, m.id",
        conversation,
        user,
    )
    return [(row["id"], row["body"]) for row in found]
