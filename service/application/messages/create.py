"""POST /conversations, over HTTP or AMQP: validation in Canvas's order, then one of the sends of endpoints.md 4.2."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from service.application.address_book.masquerade import in_reach
from service.application.address_book.recipient_checks import (
    check_context,
    check_not_concluded,
    check_roles,
    check_size,
    check_tags,
)
from service.application.address_book.recipients import resolve, sender_rights
from service.application.address_book.request_tags import request_tags
from service.application.address_book.rights import UserRights
from service.application.directory.merge import redirect_merged
from service.application.messages.chunk import Nothing, deliver_at_once, note_recipients
from service.application.messages.create_request import CreateConversation, request_text
from service.application.messages.daily_limit import check_alone, count_send
from service.application.messages.draft import compose, store, store_among
from service.application.messages.tag_sets import retag
from service.application.messages.work import Work
from service.domain import messages, tags
from service.domain.batch import chunk_size, paced_chunk
from service.domain.contexts import Context
from service.domain.errors import invalid
from service.domain.messages import Kind
from service.domain.recipients import Recipients, as_text, parse
from service.domain.schedule import LONGEST
from service.runtime.settings import Settings
from service.runtime.tracing import current_traceparent
from sql import batches, deliveries, schedule, sends
from sql.connection import Connection
from sql.messages import MessageKey

# Ids of recipients that come to this process. Of more it needs none: the statement that accepts them cuts them into
# chunks, and the ids of a million would be a third of a gateway's memory.
MOST_LISTED = 2000


@dataclass(frozen=True, slots=True)
class Accepted:
    """A batch is stored, asynchronous or too large for one request (CONTRACT 6.22); commanded after the commit.

    ``scheduled``: it starts later, and nothing is commanded before.
    """

    batch_id: int
    scheduled: bool = False


@dataclass(frozen=True, slots=True)
class Created:
    """The conversations written, in the answer's order; ``single``: the message, unless it was a batch."""

    conversation_ids: Sequence[int]
    single: MessageKey | None


@dataclass(frozen=True, slots=True)
class Validated:
    """A request that may be carried out: whom it names, and who that is. ``known``: the sender's rights there."""

    kind: Kind
    known: UserRights
    named: Recipients
    recipients: Sequence[int]
    context: Context | None
    tags: tuple[str, ...]
    send: sends.NewSend
    shared: int | None  # the conversation whose participants could be named


async def validate(work: Work, conn: Connection, request: CreateConversation) -> Validated:
    """canvas/endpoints.md 4.2 validation steps 1 to 8 in their order; raises the first Refusal. Writes nothing.

    Within the transaction that carries it out: of many recipients the server holds the ids until that ends.
    """
    if request.send_at is not None and not await schedule.may_start_at(conn, request.send_at, longest=LONGEST):
        raise invalid("send_at", "invalid")
    if not request.recipients:
        raise invalid("recipients", "blank")
    named = parse(as_text(request.recipients))
    known = await sender_rights(conn, request.author_id, named, request.context_code)
    shared = await _shared(conn, request)
    recipients = await resolve(
        conn, known, named, request.context_code, conversation_id=shared, hold_above=_hold_above(request)
    )
    check_tags(known, named, group_conversation=request.group_conversation, bulk_message=request.bulk_message)
    check_not_concluded(known, request.context_code)
    _check_given(request, recipients)
    context = await check_context(
        conn,
        known,
        recipients=recipients,
        context_code=request.context_code,
        root_account_id=work.settings.root_account_id,
    )
    if not all(isinstance(item, str) for item in request.recipients):
        raise invalid("recipients", "invalid")
    check_roles(known, named)
    kind = messages.kind_of(
        group=request.group_conversation,
        bulk=request.bulk_message,
        force_new=request.force_new,
        recipients=len(recipients),
    )
    check_size(work.settings, kind, recipients)
    messages.check_record(request.subject, request.body)
    filed_under = await request_tags(
        conn, tags=request.tags, recipients=as_text(request.recipients), context_code=request.context_code
    )
    send = await compose(
        conn,
        request,
        root_account_ids=sorted({work.settings.root_account_id, *known.root_accounts(context)}),
        private=kind in (Kind.PRIVATE, Kind.BULK_PRIVATE),
        subject=request.subject,
        context=context,
        automated=kind in (Kind.BULK_PRIVATE, Kind.BULK_SEPARATE),
    )
    return Validated(kind, known, named, recipients, context, filed_under, send, shared)


def _hold_above(request: CreateConversation) -> int | None:
    """Of how many recipients the ids stay with the server; None where each is looked at here, whatever their number."""
    shared = request.group_conversation and not (request.bulk_message or request.force_new)
    return None if request.dry_run or shared else MOST_LISTED


async def _shared(conn: Connection, request: CreateConversation) -> int | None:
    """The conversation whose participants may be written to; none that who acts as the author does not get to see."""
    shared = request.from_conversation_id
    return shared if shared is not None and await in_reach(conn, request.actor, shared) else None


def _check_given(request: CreateConversation, recipients: Sequence[int]) -> None:
    if not recipients:
        raise invalid("recipients", "invalid")
    if not request.body.strip():
        raise invalid("body", "blank")
    if request.display_from:
        raise invalid("display_from", "only available for site admin service users")


async def carry_out(work: Work, conn: Connection, request: CreateConversation, plan: Validated) -> Accepted | Created:
    """Carries a validated request out within the caller's transaction.

    Refusal for a sender who would go beyond the daily limit. Raises asyncpg.UniqueViolationError or
    DeadlockDetectedError after a conflict with another send: roll back, run again.
    """
    if request.send_at is not None:
        return await _later(work, conn, request, plan, request.send_at)
    await count_send(conn, work.settings, request.author_id, len(plan.recipients))
    match plan.kind:
        case Kind.PRIVATE:
            return await _private(work, conn, request, plan)
        case Kind.GROUP:
            return await open_group(work, conn, request, plan)
        case _:
            return await _batch(work, conn, request, plan)


async def _private(work: Work, conn: Connection, request: CreateConversation, plan: Validated) -> Created:
    (recipient,) = plan.recipients
    pair = {request.author_id, recipient}
    message, codes = await store_among(conn, plan.send, plan.context, pair)
    tagging = tags.infer(plan.tags, (), codes, pair)
    numbers = await work.tag_sets.intern(conn, [tagging.effective, *tagging.own.values()])
    first_id = await work.ids.take(conn, 1)
    delivered = await deliveries.deliver(
        conn,
        message,
        first_id=first_id,
        recipients=[recipient],
        tag_sets=[numbers[tagging.effective]],
        own_tag_sets=[numbers[tagging.own[recipient]]],
        sender_tag_sets=[numbers[tagging.own[message.author_id]]],
        cause=work.cause,
        want_ids=True,
    )
    if delivered.retagged:
        await retag(conn, work.tag_sets, plan.tags, delivered.retagged)
    if request.user_note:
        await note_recipients(conn, message, plan.recipients)
    (conversation_id,) = delivered.conversation_ids
    return Created([conversation_id], MessageKey(first_id, conversation_id, message.send_id))


async def open_group(work: Work, conn: Connection, request: CreateConversation, plan: Validated) -> Created:
    """One conversation with everybody, at once."""
    participants = sorted({request.author_id, *plan.recipients})
    message, codes = await store_among(conn, plan.send, plan.context, participants)
    tagging = tags.infer(plan.tags, (), codes, participants)
    numbers = await work.tag_sets.intern(conn, [tagging.effective, *tagging.own.values()])
    conversation_id = await work.ids.take(conn, 1)
    await deliveries.open_group(
        conn,
        message,
        conversation_id=conversation_id,
        tag_set=numbers[tagging.effective],
        participants=participants,
        own_tag_sets=[numbers[tagging.own[user]] for user in participants],
        cause=work.cause,
    )
    if request.user_note:
        await note_recipients(conn, message, plan.recipients)
    return Created([conversation_id], MessageKey(conversation_id, conversation_id, message.send_id))


async def _batch(work: Work, conn: Connection, request: CreateConversation, plan: Validated) -> Accepted | Created:
    message = await store(conn, plan.send, plan.context)
    batch_id, count, merged = await batches.insert_batch(
        conn,
        batches.NewBatch(
            send_id=message.send_id,
            sender_id=message.author_id,
            tags=plan.tags,
            user_note=request.user_note,
            recipients=plan.recipients,
            chunk_size=chunk_size_of(work, plan),
            created_at=message.created_at,
            members_of_course=only_course(plan),
            audiences=audiences_of(plan),
            from_conversation_id=plan.shared,
            traceparent=current_traceparent(),
        ),
    )
    if merged:  # since their ids were found
        await redirect_merged(conn, merged)
    if is_asynchronous(work.settings, request, plan):
        return Accepted(batch_id)
    written: list[int] = []
    for position in range(count):
        outcome = await deliver_at_once(conn, work.tag_sets, batch_id, position, cause=work.cause)
        if isinstance(outcome, Nothing):  # cannot be: no other transaction knows the chunk
            raise TypeError(f"chunk {position} of batch {batch_id}: {outcome}")
        written.extend(outcome.conversation_ids)
    return Created(await deliveries.newest_authored_first(conn, message.author_id, written), None)


def chunk_size_of(work: Work, plan: Validated) -> int:
    """How many recipients of a batch share a transaction."""
    settings = work.settings
    return chunk_size(len(plan.recipients), settings.chunk_size, reusing=plan.send.private, pace=settings.pace)


async def _later(
    work: Work, conn: Connection, request: CreateConversation, plan: Validated, send_at: datetime
) -> Accepted:
    """The request is kept with the batch: service/application/messages/schedule.py looks at it again when it starts.

    What it costs of the daily limit is counted then; what is more than a whole day's is refused now.
    """
    check_alone(work.settings, len(plan.recipients))
    message = await store(conn, plan.send, plan.context)
    batch_id = await schedule.schedule_batch(
        conn,
        schedule.NewSchedule(
            send_id=message.send_id,
            sender_id=message.author_id,
            tags=plan.tags,
            user_note=request.user_note,
            recipients=plan.recipients,
            chunk_size=chunk_size_of(work, plan),
            created_at=message.created_at,
            send_at=send_at,
            request=request_text(request),
            traceparent=current_traceparent(),
        ),
        cause=work.cause,
    )
    return Accepted(batch_id, scheduled=True)


def is_asynchronous(settings: Settings, request: CreateConversation, plan: Validated) -> bool:
    """Whether the answer comes before the delivery: asked for, for a bulk send; for one to very many; for one later.

    Where there is a pace (CONTRACT 2), very many are those whom it does not let have their message at once.
    """
    if request.send_at is not None:
        return True
    most = settings.max_synchronous_recipients
    many = len(plan.recipients) > (min(most, paced_chunk(settings.pace)) if settings.pace else most)
    return plan.kind in (Kind.BULK_PRIVATE, Kind.BULK_SEPARATE) and (request.asynchronous or many)


def only_course(plan: Validated) -> int | None:
    """The course of which all recipients were found to be current members and under which alone the send is filed."""
    course_id = plan.named.only_course
    return course_id if plan.tags == (f"course_{course_id}",) else None


def audiences_of(plan: Validated) -> list[str]:
    """The codes of recipients that name more than one person."""
    return sorted(audience.code for audience in plan.named.audiences)
