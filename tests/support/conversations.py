"""Conversations, row by row: what sends would have left in the tables.

Times run on from a fixed start, one minute a message, so that orders are known.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import TypedDict, Unpack

from sql.connection import Connection

START = datetime(2024, 5, 1, 12, tzinfo=UTC)


class Content(TypedDict, total=False):
    """What a send may carry besides its text."""

    subject: str
    context: tuple[str, int]
    attachments: Sequence[int]
    forwards: Sequence[int]
    media: str
    added: Sequence[int]


class Threads:
    """Inserts on one connection. Conversation and message ids share one sequence, as in the service."""

    def __init__(self, conn: Connection) -> None:
        self._conn = conn
        self._ids = count(10**12)  # far from those of id_blocks
        self._minutes = count()

    def _now(self) -> datetime:
        return START + timedelta(minutes=next(self._minutes))

    async def private(
        self,
        sender: int,
        recipient: int,
        body: str = "Hello",
        *,
        tags: Sequence[str] = (),
        **content: Unpack[Content],
    ) -> int:
        """A private thread with one message; to oneself when the two are the same."""
        return await self._open(sender, {sender, recipient}, body, tags, content, private=True)

    async def group(
        self,
        sender: int,
        recipients: Sequence[int],
        body: str = "Hello, all",
        *,
        tags: Sequence[str] = (),
        **content: Unpack[Content],
    ) -> int:
        """A group thread of the sender and the recipients with one message."""
        return await self._open(sender, {sender, *recipients}, body, tags, content, private=False)

    async def _open(
        self, sender: int, everybody: set[int], body: str, tags: Sequence[str], content: Content, *, private: bool
    ) -> int:
        made, at = next(self._ids), self._now()
        send = await self._send(sender, at, body, content, private=private)
        tag_set = await self.tag_set(tags)
        await self._conn.execute(
            "INSERT INTO conversations"
            " (id, send_id, tag_set, first_tag_set, has_attachments, has_media_objects)"
            " SELECT $1, id, $3, $3, has_attachments, has_media_objects FROM sends WHERE id = $2",
            made,
            send,
            tag_set,
        )
        await self._conn.execute(
            "INSERT INTO participants (conversation_id, user_id, last_message_at, last_authored_at,"
            " visible_last_authored_at, tag_set, message_count, unread, has_attachments, has_media_objects)"
            " SELECT $1, u, CASE WHEN u <> s.author_id THEN s.created_at END,"
            " CASE WHEN u = s.author_id THEN s.created_at END,"
            " CASE WHEN u = s.author_id THEN s.created_at END,"
            " $3, 1, u <> s.author_id, s.has_attachments, s.has_media_objects"
            " FROM sends s, unnest($4::bigint[]) AS u WHERE s.id = $2",
            made,
            send,
            tag_set,
            sorted(everybody),
        )
        return made

    async def reply(
        self,
        conversation: int,
        author: int,
        body: str = "Reply",
        *,
        only: Sequence[int] | None = None,
        **content: Unpack[Content],
    ) -> int:
        """A message to everybody, or (restricted) to some; the author has it in any case."""
        made, at = next(self._ids), self._now()
        send = await self._send(author, at, body, content)
        await self._message(conversation, made, send, restricted=only is not None)
        await self._conn.executemany(
            "INSERT INTO message_views (conversation_id, message_id, user_id) VALUES ($1, $2, $3)",
            [(conversation, made, user) for user in ({author, *only} if only is not None else ())],
        )
        await self._conn.execute(
            "UPDATE participants SET message_count = message_count + 1,"
            " last_message_at = CASE WHEN user_id = $2 THEN last_message_at ELSE $3 END,"
            " unread = unread OR user_id <> $2, archived = archived AND user_id = $2,"
            " last_authored_at = CASE WHEN user_id = $2 THEN $3 ELSE last_authored_at END,"
            " visible_last_authored_at = CASE WHEN user_id = $2 THEN $3 ELSE visible_last_authored_at END"
            " WHERE conversation_id = $1 AND ($4::bigint[] IS NULL OR user_id = $2 OR user_id = ANY ($4))",
            conversation,
            author,
            at,
            only,
        )
        return made

    async def added(self, conversation: int, adder: int, users: Sequence[int]) -> int:
        """The generated message about people who were added, who are not made participants by this."""
        made, at = next(self._ids), self._now()
        await self._message(conversation, made, await self._send(adder, at, "", {"added": users}))
        return made

    async def delete_message(self, conversation: int, message: int, user: int) -> None:
        """One user's view of a message is gone; their row's times stay as they are."""
        await self._conn.execute(
            "INSERT INTO message_views (conversation_id, message_id, user_id, deleted_at)"
            " VALUES ($1, $2, $3, $4)"
            " ON CONFLICT (conversation_id, user_id, message_id) DO UPDATE SET deleted_at = $4",
            conversation,
            message,
            user,
            self._now(),
        )

    async def delete(self, conversation: int, user: int) -> None:
        """One user deletes the thread (semantics.md 8)."""
        rows = await self._conn.fetch(
            "SELECT id FROM participant_messages WHERE conversation_id = $1 AND user_id = $2",
            conversation,
            user,
        )
        for row in rows:
            await self.delete_message(conversation, row["id"], user)
        await self.update(
            conversation,
            user,
            message_count=0,
            last_message_at=None,
            visible_last_authored_at=None,
            unread=False,
            starred=False,
            tag_set=0,
        )

    async def update(self, conversation: int, user: int, **columns: object) -> None:
        """Set columns of a participant row as given."""
        for column, value in columns.items():
            await self._conn.execute(
                f"UPDATE participants SET {column} = $3 WHERE conversation_id = $1 AND user_id = $2",
                conversation,
                user,
                value,
            )

    async def tag_set(self, codes: Sequence[str]) -> int:
        """The number of a tag list."""
        number: int = await self._conn.fetchval(
            "INSERT INTO tag_sets (codes) VALUES ($1)"
            " ON CONFLICT (codes) DO UPDATE SET codes = excluded.codes RETURNING id",
            list(codes),
        )
        return number

    async def _message(self, conversation: int, message: int, send: int, *, restricted: bool = False) -> None:
        await self._conn.execute(
            "INSERT INTO messages (conversation_id, id, send_id, tag_set, restricted) VALUES ($1, $2, $3, 0, $4)",
            conversation,
            message,
            send,
            restricted,
        )

    async def _send(self, author: int, at: datetime, body: str, content: Content, *, private: bool = False) -> int:
        context_type, context_id = content.get("context", (None, None))
        forwards = list(content.get("forwards", ()))
        attachments = list(content.get("attachments", ()))
        source = await self._conn.fetchval(
            "SELECT min(conversation_id) FROM conversation_messages WHERE id = ANY ($1::bigint[])", forwards
        )
        number: int = await self._conn.fetchval(
            "INSERT INTO sends (author_id, created_at, body, private, subject, context_type, context_id,"
            " root_account_ids, attachment_ids, forwarded_message_ids, forwarded_conversation_id, media_id,"
            " added_user_ids, has_attachments, has_media_objects)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, '{1}', $8, $9, $10, $11, $12, $13, $14) RETURNING id",
            author,
            at,
            body,
            private,
            content.get("subject"),
            context_type,
            context_id,
            attachments,
            forwards,
            source,
            content.get("media"),
            content.get("added"),
            bool(attachments),
            "media" in content,
        )
        return number
