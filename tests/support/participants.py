"""Participants as the database has them: their rows, and the messages each of them sees."""

from typing import Any

from sql.connection import Connection


async def participant_rows(conn: Connection, conversation: int) -> dict[int, dict[str, Any]]:
    """Every participant's row by user id, with the tags spelt out as ``codes``."""
    found = await conn.fetch(
        "SELECT p.*, t.codes FROM participants p JOIN tag_sets t ON t.id = p.tag_set WHERE p.conversation_id = $1",
        conversation,
    )
    return {row["user_id"]: dict(row) for row in found}


async def participant_row(conn: Connection, conversation: int, user: int) -> dict[str, Any]:
    """One of them."""
    return (await participant_rows(conn, conversation))[user]


async def all_of_others(conn: Connection, user: int) -> list[list[Any]]:
    """All rows about conversations that are not the user's own, for comparing before with after."""
    return [
        await conn.fetch("SELECT * FROM participants WHERE user_id <> $1 ORDER BY conversation_id, user_id", user),
        await conn.fetch("SELECT * FROM message_views WHERE user_id <> $1 ORDER BY message_id, user_id", user),
        await conn.fetch("SELECT * FROM conversation_messages ORDER BY conversation_id, id"),
        await conn.fetch("SELECT * FROM conversations ORDER BY id"),
    ]


async def messages_of(conn: Connection, conversation: int, user: int) -> list[tuple[int, str]]:
    """(id, body) of the messages a user has and has not deleted, oldest first."""
    found = await conn.fetch(
        "SELECT m.id, s.body FROM participant_messages m JOIN sends s ON s.id = m.send_id"
        " WHERE m.conversation_id = $1 AND m.user_id = $2 AND m.deleted_at IS NULL ORDER BY m.created_at, m.id",
        conversation,
        user,
    )
    return [(row["id"], row["body"]) for row in found]


async def bodies(conn: Connection, conversation: int, user: int) -> list[str]:
    """The texts of these messages."""
    return [body for _, body in await messages_of(conn, conversation, user)]
