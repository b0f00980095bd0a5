"""Messages as the API shows them (canvas/endpoints.md 3.2), with everything they forward.

A fixed number of statements loads any number of messages: the forwarded tree, the texts, and when there are
any the files and the names in generated sentences.
"""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Literal

from service.application.presentation.answer import encoded
from service.application.presentation.shapes import Attachment, MediaComment, Message
from service.domain import attachments, generated_messages
from service.domain.forwards import MAX_FORWARDED, MAX_FORWARDED_BYTES, Forwards
from sql.connection import Connection
from sql.messages import (
    AttachmentRow,
    ForwardedKey,
    MessageDetails,
    MessageKey,
    attachments_by_id,
    forwarded_messages,
    message_details,
)
from sql.people import PersonRow, people_by_id


async def present_messages(
    conn: Connection, keys: Sequence[MessageKey], *, viewer_id: int, base_url: str
) -> list[Message]:
    """Message objects in the order of the keys, which may repeat; also for a batch's template, of no conversation."""
    book = await load_messages(conn, keys, viewer_id=viewer_id, base_url=base_url)
    return [book.render(key.id) for key in keys]


async def load_messages(
    conn: Connection, keys: Sequence[MessageKey], *, viewer_id: int, base_url: str
) -> "MessageBook":
    """Everything needed to show the messages, as often as there are keys of them, and what they forward."""
    known = {key.id: key for key in keys}
    details = await message_details(conn, list(known.values()))
    if any(row.forwarded_message_ids for row in details):
        forwarded = await forwarded_messages(conn, [key.send_id for key in known.values()], MAX_FORWARDED)
        details += await message_details(conn, _storable(forwarded, known))
    file_ids = sorted({id_ for row in details for id_ in row.attachment_ids})
    named = sorted({id_ for row in details for id_ in _named_users(row)})
    return MessageBook(
        shown=[key.id for key in keys],
        rows={row.id: row for row in details},
        files=await attachments_by_id(conn, file_ids) if file_ids else {},
        people=await people_by_id(conn, named) if named else {},
        viewer_id=viewer_id,
        base_url=base_url,
    )


def _storable(forwarded: Sequence[ForwardedKey], known: Container[int]) -> list[MessageKey]:
    """Those that are not known yet, as long as all of their text can be shown in one answer."""
    taken, left = [], MAX_FORWARDED_BYTES
    for key in forwarded:
        if key.id not in known and key.size <= left:
            left -= key.size
            taken.append(MessageKey(key.id, key.conversation_id, key.send_id))
    return taken


def _named_users(row: MessageDetails) -> list[int]:
    """Whose names the sentence of a generated message needs."""
    return [] if row.added_user_ids is None else [row.author_id, *row.added_user_ids]


class MessageBook:
    """Loaded messages, ready to be shown to one viewer in one answer."""

    def __init__(
        self,
        *,
        shown: Sequence[int],
        rows: Mapping[int, MessageDetails],
        files: Mapping[int, AttachmentRow],
        people: Mapping[int, PersonRow],
        viewer_id: int,
        base_url: str,
    ) -> None:
        """``shown``: ids of the messages of the answer, as often as each is in it."""
        self._rows, self._files, self._people = rows, files, people
        self._viewer_id, self._base_url = viewer_id, base_url
        below = {id_: self._newest_first(row.forwarded_message_ids) for id_, row in rows.items()}
        self._forwarded = {
            id_: self._message(rows[id_], foreign=rows[id_].author_id != viewer_id)
            for id_ in {child for children in below.values() for child in children}
        }
        sizes = {id_: len(encoded(message)) + 1 for id_, message in self._forwarded.items()}
        self._forwards = Forwards(shown, below, sizes)

    def render(self, message_id: int) -> Message:
        """One message object; to be called once for each time that the answer has the message."""
        message = self._message(self._rows[message_id])
        message["forwarded_messages"] = [self._below(child) for child in self._forwards.below_shown(message_id)]
        return message

    def forwarded_authors(self, message_ids: Iterable[int]) -> set[int]:
        """Who wrote the messages that these forward, at any depth. To be asked before any message is rendered."""
        return {self._rows[id_].author_id for id_ in self._forwards.forwarded_by(message_ids)}

    def _newest_first(self, message_ids: Sequence[int]) -> list[int]:
        found = [self._rows[id_] for id_ in message_ids if id_ in self._rows]
        return [row.id for row in sorted(found, key=lambda row: (row.created_at, row.id), reverse=True)]

    def _below(self, message_id: int) -> Message:
        children = self._forwards.below_forwarded(message_id)
        return {**self._forwarded[message_id], "forwarded_messages": [self._below(child) for child in children]}

    def _message(self, row: MessageDetails, *, foreign: bool = False) -> Message:
        """A message without what it forwards. ``foreign``: another user's, and forwarded."""
        return {
            "id": row.id,
            "created_at": row.created_at,
            "body": self._body(row),
            "author_id": row.author_id,
            "generated": row.added_user_ids is not None,
            "media_comment": self._media_comment(row),
            "forwarded_messages": [],
            "attachments": [
                self._attachment(self._files[id_], with_uuid=not foreign)
                for id_ in row.attachment_ids
                if id_ in self._files
            ],
            "participating_user_ids": row.participating_user_ids,
        }

    def _body(self, row: MessageDetails) -> str:
        if row.added_user_ids is None:
            return row.body
        return generated_messages.users_added(
            [self._name(id_) for id_ in sorted(row.added_user_ids)], self._name(row.author_id)
        )

    def _name(self, user_id: int) -> str:
        return self._people[user_id].name if user_id in self._people else ""

    def _media_comment(self, row: MessageDetails) -> MediaComment | None:
        if row.media_id is None:
            return None
        kind: Literal["audio", "video"] = "audio" if (row.media_type or "").startswith("audio") else "video"
        return {
            "content-type": f"{kind}/mp4",
            "display_name": row.media_title,
            "media_id": row.media_id,
            "media_type": kind,
            "url": f"{self._base_url}/users/{self._viewer_id}/media_download"
            f"?entryId={row.media_id}&redirect=1&type=mp4",
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
            "url": row.url or attachments.download_url(self._base_url, row.id, row.uuid),
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
