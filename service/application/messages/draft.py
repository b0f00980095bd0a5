"""A message before it is stored, in any request that writes one: text, files, forwarded messages, a media comment."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from service.application.address_book.masquerade import in_reach
from service.application.address_book.rights import UserRights
from service.domain.contexts import Context
from service.domain.errors import invalid
from service.domain.tags import Codes
from sql import sends
from sql.connection import Connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What the requests that write a message have in common, parsed."""

    author_id: int
    body: str
    context_code: str | None = None
    attachment_ids: Sequence[int] = ()
    forwarded_message_ids: Sequence[int] = ()
    media_comment_id: str | None = None
    media_comment_type: str | None = None
    tags: Sequence[str] = ()
    user_note: bool = False
    actor: UserRights | None = None  # of who really writes, acting as the author


async def compose(
    conn: Connection,
    draft: Draft,
    *,
    root_account_ids: Sequence[int],
    private: bool,
    subject: str | None = None,
    context: Context | None = None,
    automated: bool = False,
) -> sends.NewSend:
    """The row of sends that the draft will be; Refusal for messages that the author may not forward. Writes nothing."""
    files = []
    if draft.attachment_ids:
        files = await sends.usable_attachments(conn, draft.author_id, draft.attachment_ids)
    forwarded = await _forwarded(conn, draft)
    media = draft.media_comment_id if draft.media_comment_type else None
    return sends.NewSend(
        author_id=draft.author_id,
        body=draft.body,
        subject=subject,
        private=private,
        context_type=context.type if context else None,
        context_id=context.id if context else None,
        root_account_ids=root_account_ids,
        attachment_ids=files,
        forwarded_message_ids=[message.id for message in forwarded],
        forwarded_conversation_id=forwarded[0].conversation_id if forwarded else None,
        media_id=media,
        media_type=draft.media_comment_type if media else None,
        has_attachments=bool(files) or any(message.has_attachments for message in forwarded),
        has_media_objects=bool(media) or any(message.has_media_objects for message in forwarded),
        automated=automated,
    )


async def _forwarded(conn: Connection, draft: Draft) -> Sequence[sends.Forwardable]:
    """Messages the author has, all of one conversation (semantics.md 7.6); Canvas answers 500, Clarion 400.

    Who acts as the author forwards from no conversation that is out of their own reach.
    """
    wanted = list(dict.fromkeys(draft.forwarded_message_ids))
    if not wanted:
        return ()
    found = {m.id: m for m in await sends.forwardable_messages(conn, draft.author_id, wanted)}
    homes = {message.conversation_id for message in found.values()}
    if found.keys() != set(wanted) or not all([await in_reach(conn, draft.actor, home) for home in homes]):
        raise invalid("forwarded_message_ids", "not all from one conversation of yours")
    return [found[number] for number in wanted]


async def store(conn: Connection, send: sends.NewSend, context: Context | None = None) -> sends.Message:
    """Stores what is said; returns it as deliveries take it."""
    stored = await _insert(conn, send)
    return _message(send, stored, context)


async def store_among(
    conn: Connection, send: sends.NewSend, context: Context | None, people: Collection[int]
) -> tuple[sends.Message, dict[int, Codes]]:
    """The same for those who will have it at once, with the codes of each, which are needed to file it."""
    stored = await _insert(conn, send, people)
    return _message(send, stored, context), stored.codes


async def _insert(conn: Connection, send: sends.NewSend, people: Collection[int] = ()) -> sends.StoredSend:
    if send.media_id:
        await sends.keep_media_object(conn, send.media_id, send.media_type or "", send.author_id)
    if send.id is not None:
        return await sends.renew_send(conn, send.id, send, filed_user_ids=list(people))
    return await sends.insert_send(conn, send, filed_user_ids=list(people))


def _message(send: sends.NewSend, stored: sends.StoredSend, context: Context | None) -> sends.Message:
    return sends.Message(
        send_id=stored.id,
        author_id=send.author_id,
        created_at=stored.created_at,
        private=send.private,
        context_key=context.key if context else 0,
        has_attachments=send.has_attachments,
        has_media_objects=send.has_media_objects,
    )
