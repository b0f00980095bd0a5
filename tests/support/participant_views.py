"""What stands in the tables about one user's view, and about everybody else's, which must not change with it."""

from typing import Any

from sql.connection import Connection


async def view(conn: Connection, conversation: int, user: int) -> dict[str, Any]:
    """A participant row, with its tags in words."""
    found = await conn.fetchrow(
        "SELECT p.*, t.codes AS tags FROM participants p JOIN tag_sets t ON t.id = p.tag_set"
        " WHERE p.conversation_id = $1 AND p.user_id = $2",
        conversation,
        user,
    )
    assert found is not None
    return dict(found)


async def all_of_others(conn: Connection, user: int) -> list[list[Any]]:
    """All rows about conversations that are not the user's own, for comparing before with after."""
    return [
        await conn.fetch("SELECT * FROM participants WHERE user_id <> $1 ORDER BY conversation_id, user_id", user),
        await conn.fetch("SELECT * FROM message_views WHERE user_id <> $1 ORDER BY message_id, user_id", user),
        await conn.fetch("SELECT * FROM conversation_messages ORDER BY conversation_id, id"),
        await conn.fetch("SELECT * FROM conversations ORDER BY id"),
    ]


async def bodies(conn: Connection, conversation: int, user: int) -> list[str]:
    """The messages the user has and has not deleted, oldest first."""
    found = await conn.fetch(
        "SELECT s.body FROM participant_messages m JOIN sends s ON s.id = m.send_id"
        " WHERE m.conversation_id = $1 AND m.user_id = $2 AND m.deleted_at IS NULL ORDER BY m.created_at, m.id",
        conversation,
        user,
    )
    return [each["body"] for each in found]
