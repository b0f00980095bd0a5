"""POST /conversations, whoever asks: validation in Canvas's order, then one of the sends of endpoints.md 4.2."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from service.application import address_book
from service.application.delivering import deliver_chunk, note_recipients
from service.application.tagging import TagSets, retag
from service.domain import messages, tags
from service.domain.contexts import Context
from service.domain.errors import invalid
from service.domain.messages import Kind
from service.runtime.ids import IdBlocks
from service.runtime.settings import Settings
from sql import batches, chunks, sends, threads
from sql import tags as tag_rows
from sql.connection import Connection

# An accepted batch is planned at once by a command; should that be lost, the sweeper comes this much later.
UNPLANNED_AFTER = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class CreateConversation:
    """The request, parsed; ``recipients`` keeps the types the client sent (step 6 looks at them)."""

    author_id: int
    recipients: Sequence[Any]
    body: str
    subject: str | None = None
    group_conversation: bool = False
    bulk_message: bool = False
    force_new: bool = False
    asynchronous: bool = False
    context_code: str | None = None
    attachment_ids: Sequence[int] = ()
    forwarded_message_ids: Sequence[int] = ()
    media_comment_id: str | None = None
    media_comment_type: str | None = None
    tags: Sequence[str] = ()
    user_note: bool = False
    display_from: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """An asynchronous batch is stored; its delivery is commanded after the commit."""

    batch_id: int


@dataclass(frozen=True, slots=True)
class Created:
    """The conversations written, in the answer's order; ``single`` is (conversation, message) unless a batch."""

    conversation_ids: Sequence[int]
    single: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Validated:
    """A request that may be carried out."""

    kind: Kind
    recipients: Sequence[int]
    context: Context | None
    tags: tuple[str, ...]
    send: sends.NewSend


@dataclass(frozen=True, slots=True)
class Creator:
    """What creating needs of its process."""

    settings: Settings
    ids: IdBlocks
    tag_sets: TagSets

    async def validate(self, conn: Connection, request: CreateConversation) -> Validated:
        """Steps 1 to 8 of canvas/endpoints.md 4.2 in their order; raises the first Refusal."""
        raw = [str(item) for item in request.recipients if isinstance(item, str | int)]
        if not request.recipients:
            raise invalid("recipients", "blank")
        recipients = await address_book.resolve(
            conn, sender_id=request.author_id, recipients=raw, context_code=request.context_code
        )
        if not recipients:
            raise invalid("recipients", "invalid")
        if not request.body.strip():
            raise invalid("body", "blank")
        if request.display_from:
            raise invalid("display_from", "only available for site admin service users")
        context = await address_book.check_context(
            conn,
            sender_id=request.author_id,
            recipients=recipients,
            context_code=request.context_code,
            root_account_id=self.settings.root_account_id,
        )
        if not all(isinstance(item, str) for item in request.recipients):
            raise invalid("recipients", "invalid")
        await address_book.check_roles(conn, sender_id=request.author_id, recipients=raw)
        kind = messages.kind_of(
            group=request.group_conversation,
            bulk=request.bulk_message,
            force_new=request.force_new,
            recipients=len(recipients),
        )
        self._check_size(kind, recipients)
        messages.check_record(request.subject, request.body)
        request_tags = await address_book.request_tags(
            conn, tags=request.tags, recipients=raw, context_code=request.context_code
        )
        send = await self._prepare(conn, request, kind, context)
        return Validated(kind, recipients, context, request_tags, send)

    def _check_size(self, kind: Kind, recipients: Sequence[int]) -> None:
        limits = {
            Kind.GROUP: self.settings.max_group_conversation_size,
            Kind.PRIVATE: self.settings.max_group_conversation_size,
            Kind.BULK_PRIVATE: self.settings.max_bulk_private_recipients,
        }
        if kind in limits and len(recipients) > limits[kind]:
            raise invalid("recipients", "too many for group conversation")

    async def _prepare(
        self, conn: Connection, request: CreateConversation, kind: Kind, context: Context | None
    ) -> sends.NewSend:
        files = []
        if request.attachment_ids:
            files = await sends.usable_attachments(conn, request.author_id, request.attachment_ids)
        forwarded = await self._forwarded(conn, request)
        media = request.media_comment_id if request.media_comment_type else None
        if media:
            await sends.keep_media_object(conn, media, request.media_comment_type or "", request.author_id)
        return sends.NewSend(
            author_id=request.author_id,
            created_at=datetime.now(UTC),
            body=request.body,
            subject=request.subject,
            private=kind in (Kind.PRIVATE, Kind.BULK_PRIVATE),
            context_type=context.type if context else None,
            context_id=context.id if context else None,
            root_account_ids=[self.settings.root_account_id],
            attachment_ids=files,
            forwarded_message_ids=[message.id for message in forwarded],
            forwarded_conversation_id=forwarded[0].conversation_id if forwarded else None,
            media_id=media,
            has_attachments=bool(files) or any(message.has_attachments for message in forwarded),
            has_media_objects=bool(media) or any(message.has_media_objects for message in forwarded),
            automated=kind in (Kind.BULK_PRIVATE, Kind.BULK_SEPARATE),
        )

    async def _forwarded(self, conn: Connection, request: CreateConversation) -> Sequence[sends.Forwardable]:
        """All of one conversation the author takes part in (semantics.md 7.6); Canvas answers 500, Clarion 400."""
        wanted = list(dict.fromkeys(request.forwarded_message_ids))
        if not wanted:
            return ()
        found = {m.id: m for m in await sends.forwardable_messages(conn, request.author_id, wanted)}
        if found.keys() != set(wanted) or len({m.conversation_id for m in found.values()}) > 1:
            raise invalid("forwarded_message_ids", "not all from one conversation of yours")
        return [found[number] for number in wanted]

    async def create(self, conn: Connection, request: CreateConversation, plan: Validated) -> Accepted | Created:
        """Carries a validated request out within the caller's transaction.

        Raises asyncpg.UniqueViolationError or DeadlockDetectedError when another send met it: roll back, run again.
        """
        match plan.kind:
            case Kind.PRIVATE:
                return await self._private(conn, request, plan)
            case Kind.GROUP:
                return await self._group(conn, request, plan)
            case _:
                return await self._batch(conn, request, plan)

    async def _message(self, conn: Connection, send: sends.NewSend, context: Context | None) -> chunks.Message:
        return chunks.Message(
            send_id=await sends.insert_send(conn, send),
            author_id=send.author_id,
            created_at=send.created_at,
            private=send.private,
            context_key=context.key if context else 0,
            has_attachments=send.has_attachments,
            has_media_objects=send.has_media_objects,
        )

    async def _private(self, conn: Connection, request: CreateConversation, plan: Validated) -> Created:
        message = await self._message(conn, plan.send, plan.context)
        (recipient,) = plan.recipients
        pair = {message.author_id, recipient}
        codes = await tag_rows.codes_of_users(conn, list(pair))
        tagging = tags.infer(plan.tags, (), codes, pair)
        numbers = await self.tag_sets.intern(conn, [tagging.effective, *tagging.own.values()])
        first_id = await self.ids.take(conn, 1)
        delivered = await chunks.deliver(
            conn,
            message,
            first_id=first_id,
            recipients=[recipient],
            tag_sets=[numbers[tagging.effective]],
            own_tag_sets=[numbers[tagging.own[recipient]]],
            sender_tag_sets=[numbers[tagging.own[message.author_id]]],
            now=message.created_at,
            want_ids=True,
        )
        if delivered.retagged:
            await retag(conn, self.tag_sets, plan.tags, delivered.retagged)
        if request.user_note:
            await note_recipients(conn, message, plan.recipients)
        return Created(delivered.conversation_ids, (delivered.conversation_ids[0], first_id))

    async def _group(self, conn: Connection, request: CreateConversation, plan: Validated) -> Created:
        message = await self._message(conn, plan.send, plan.context)
        participants = sorted({message.author_id, *plan.recipients})
        codes = await tag_rows.codes_of_users(conn, participants)
        tagging = tags.infer(plan.tags, (), codes, participants)
        numbers = await self.tag_sets.intern(conn, [tagging.effective, *tagging.own.values()])
        conversation_id = await self.ids.take(conn, 1)
        await threads.open_group(
            conn,
            message,
            conversation_id=conversation_id,
            tag_set=numbers[tagging.effective],
            participants=participants,
            own_tag_sets=[numbers[tagging.own[user]] for user in participants],
        )
        if request.user_note:
            await note_recipients(conn, message, plan.recipients)
        return Created([conversation_id], (conversation_id, conversation_id))

    async def _batch(self, conn: Connection, request: CreateConversation, plan: Validated) -> Accepted | Created:
        message = await self._message(conn, plan.send, plan.context)
        batch_id, count = await batches.insert_batch(
            conn,
            batches.NewBatch(
                send_id=message.send_id,
                sender_id=message.author_id,
                tags=plan.tags,
                user_note=request.user_note,
                recipients=plan.recipients,
                chunk_size=self.settings.chunk_size,
                created_at=message.created_at,
                due_at=message.created_at + UNPLANNED_AFTER,
            ),
        )
        if request.asynchronous:
            return Accepted(batch_id)
        written: list[int] = []
        for position in range(count):
            outcome = await deliver_chunk(conn, self.tag_sets, batch_id, position, want_ids=True)
            written.extend(outcome.conversation_ids)
        return Created(await threads.order_of_new_threads(conn, message.author_id, written), None)
