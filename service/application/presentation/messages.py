"""Messages as the API shows them (canvas/endpoints.md 3.2), with everything they forward.

A fixed number of statements loads any number of messages: the forwarded tree, the texts, and when there are
any the files and the names in generated sentences.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from service.application.presentation.shapes import Attachment, MediaComment, Message
from service.domain import attachments, generated_messages
from sql.connection import Connection
from sql.messages import (
    AttachmentRow,
    MessageDetails,
    MessageKey,
    attachments_by_id,
    forwarded_messages,
    message_details,
)
from sql.people import PersonRow, people_by_id

# JSON encoders stop at 254 levels, and a message that forwards two which forward two … doubles with every
# level: deeper, or beyond so many in one answer, forwarded messages are left out.
MAX_FORWARDED_DEPTH = 100
MAX_FORWARDED = 20_000


async def present_messages(
    conn: Connection, keys: Sequence[MessageKey], *, viewer_id: int, base_url: str
) -> dict[int, Message]:
    """Message objects by message id; also for a batch's template, whose key names no conversation."""
    book = await load_messages(conn, keys, viewer_id=viewer_id, base_url=base_url)
    return {key.id: book.render(key.id) for key in keys}


async def load_messages(
    conn: Connection, keys: Sequence[MessageKey], *, viewer_id: int, base_url: str
) -> "MessageBook":
    """Everything needed to show the messages and what they forward."""
    details = await message_details(conn, keys)
    if any(row.forwarded_message_ids for row in details):
        known = {key.id for key in keys}
        forwarded = await forwarded_messages(conn, [key.send_id for key in keys])
        details += await message_details(conn, [key for key in forwarded if key.id not in known])
    file_ids = sorted({id_ for row in details for id_ in row.attachment_ids})
    named = sorted({id_ for row in details for id_ in _named_users(row)})
    return MessageBook(
        rows={row.id: row for row in details},
        files=await attachments_by_id(conn, file_ids) if file_ids else {},
        people=await people_by_id(conn, named) if named else {},
        viewer_id=viewer_id,
        base_url=base_url,
    )


def _named_users(row: MessageDetails) -> list[int]:
    """Whose names the sentence of a generated message needs."""
    return [] if row.added_user_ids is None else [row.author_id, *row.added_user_ids]


@dataclass(slots=True)
class MessageBook:
    """Loaded messages, ready to be shown to one viewer in one answer."""

    rows: Mapping[int, MessageDetails]
    files: Mapping[int, AttachmentRow]
    people: Mapping[int, PersonRow]
    viewer_id: int
    base_url: str
    forwards_left: int = MAX_FORWARDED

    def render(self, message_id: int) -> Message:
        """One message object."""
        return self._render(self.rows[message_id], depth=0)

    def forwarded_authors(self, message_ids: Iterable[int]) -> set[int]:
        """Who wrote the messages that these forward, at any depth."""
        seen: set[int] = set()
        waiting = [f for id_ in message_ids for f in self.rows[id_].forwarded_message_ids]
        while waiting:
            id_ = waiting.pop()
            if id_ not in seen and id_ in self.rows:
                seen.add(id_)
                waiting.extend(self.rows[id_].forwarded_message_ids)
        return {self.rows[id_].author_id for id_ in seen}

    def _render(self, row: MessageDetails, *, depth: int) -> Message:
        foreign = depth > 0 and row.author_id != self.viewer_id
        return {
            "id": row.id,
            "created_at": row.created_at,
            "body": self._body(row),
            "author_id": row.author_id,
            "generated": row.added_user_ids is not None,
            "media_comment": self._media_comment(row),
            "forwarded_messages": self._forwarded(row, depth=depth),
            "attachments": [
                self._attachment(self.files[id_], with_uuid=not foreign)
                for id_ in row.attachment_ids
                if id_ in self.files
            ],
            "participating_user_ids": row.participating_user_ids,
        }

    def _forwarded(self, row: MessageDetails, *, depth: int) -> list[Message]:
        if depth >= MAX_FORWARDED_DEPTH:
            return []
        found = [self.rows[id_] for id_ in row.forwarded_message_ids if id_ in self.rows]
        found.sort(key=lambda r: (r.created_at, r.id), reverse=True)
        taken = found[: self.forwards_left]
        self.forwards_left -= len(taken)
        return [self._render(child, depth=depth + 1) for child in taken]

    def _body(self, row: MessageDetails) -> str:
        if row.added_user_ids is None:
            return row.body
        return generated_messages.users_added(
            [self._name(id_) for id_ in sorted(row.added_user_ids)], self._name(row.author_id)
        )

    def _name(self, user_id: int) -> str:
        return self.people[user_id].name if user_id in self.people else ""

    def _media_comment(self, row: MessageDetails) -> MediaComment | None:
        if row.media_id is None:
            return None
        kind: Literal["audio", "video"] = "audio" if (row.media_type or "").startswith("audio") else "video"
        return {
            "content-type": f"{kind}/mp4",
            "display_name": row.media_title,
            "media_id": row.media_id,
            "media_type": kind,
            "url": f"{self.base_url}/users/{self.viewer_id}/media_download?entryId={row.media_id}&redirect=1&type=mp4",
        }

    def _attachment(self, row: AttachmentRow, *, with_uuid: bool) -> Attachment:
        shown: Attachment = {
            "id": row.id,
            "uuid": row.uuid,
            "folder_id": row.folder_id,
            "display_name": row.display_name or row.filename,
            "filename": row.filename or row.display_name,
            "upload_status": "success",
            "content-type": row.content_type,
            "url": row.url or attachments.download_url(self.base_url, row.id, row.uuid),
            "size": row.size,
            "created_at": row.created_at or row.updated_at,
            "updated_at": row.updated_at,
            "unlock_at": row.unlock_at,
            "locked": False,
            "hidden": False,
            "lock_at": row.lock_at,
            "hidden_for_user": False,
            "thumbnail_url": row.thumbnail_url,
            "modified_at": row.updated_at,
            "mime_class": attachments.mime_class(row.content_type),
            "media_entry_id": None,
            "category": "uncategorized",
            "locked_for_user": attachments.locked(row.seen_at, unlock_at=row.unlock_at, lock_at=row.lock_at),
        }
        if not with_uuid:
            del shown["uuid"]
        return shown
