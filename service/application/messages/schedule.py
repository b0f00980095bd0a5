"""Sends that start later: moving one, and starting one that is due (CONTRACT 3.2, 3.6).

At the start all is looked up again as if the request came now: the contexts it names, whom the sender reaches, what the
sender may send. Newcomers get it; who was listed and is not meant any more is skipped. The message is dated then, and
its ids come after those of all that was accepted before.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import timedelta

from service.application.address_book.masquerade import act_as
from service.application.address_book.recipients import sender_rights, writes_to_anybody
from service.application.address_book.rights import UserRights
from service.application.messages import create
from service.application.messages.create_request import CreateConversation, KeptRequest, read_request
from service.application.messages.daily_limit import count_send
from service.application.messages.draft import store
from service.application.messages.work import Work
from service.domain.batch import BatchState
from service.domain.contexts import Context, ContextType
from service.domain.errors import Code, Refusal, invalid
from service.domain.ids import parse_id
from service.domain.messages import Kind
from service.domain.recipients import Recipients, as_text, parse, sent_context
from service.domain.schedule import LONGEST, start_of
from service.domain.visibility import Members, Range
from service.runtime.tracing import continued
from sql import address_book, batches, dry_run, schedule
from sql.connection import Connection
from sql.merge import merge_targets
from sql.schedule import DueRow

FIRST_WAIT = timedelta(seconds=2)  # before a start that has failed is tried again; then twice as long, and so on
DOUBLINGS = 8


async def move(
    work: Work,
    conn: Connection,
    batch_id: int,
    *,
    sender_id: int,
    accounts: Collection[int] | None,
    send_at: str | None,
) -> batches.Batch:
    """Gives a scheduled batch of the sender's another time, within the caller's transaction; the batch as it is then.

    Refusal(NOT_FOUND) for a batch that is not the sender's, Refusal(CONFLICT) for one that is not scheduled;
    after these for a ``send_at`` that is none.
    """
    found = await batches.find_batch(conn, batch_id, sender_id, accounts=accounts)
    if found is None:
        raise Refusal(Code.NOT_FOUND)
    if found.progress.state is not BatchState.SCHEDULED:
        raise _not_scheduled(found)
    moment = start_of(send_at)
    if moment is None or not await schedule.may_start_at(conn, moment, longest=LONGEST):
        raise invalid("send_at", "invalid")
    moved = await schedule.move_batch(conn, batch_id, moment, cause=work.cause)
    found = await batches.find_batch(conn, batch_id, sender_id, accounts=accounts)
    if found is None:
        raise Refusal(Code.NOT_FOUND)
    if not moved:
        raise _not_scheduled(found)
    return found


def _not_scheduled(batch: batches.Batch) -> Refusal:
    return Refusal(Code.CONFLICT, f"is {batch.progress.state}", attribute="state")


class StartFailed(Exception):
    """A start did not get to its end, for the reason that this is raised from, if any; nothing has changed.

    Without a reason the batch was cancelled meanwhile, or its sender merged: the next attempt sees that.
    """

    def __init__(self, batch_id: int) -> None:
        super().__init__(f"batch {batch_id} was not started")
        self.batch_id = batch_id


@dataclass(frozen=True, slots=True)
class Started:
    """A batch that was due. ``running``: it has chunks to be commanded. ``late``: seconds. ``refused``: why."""

    batch_id: int
    running: bool
    late: float
    traceparent: str | None
    refused: str | None = None


async def start_next(conn: Connection, work_of: Callable[[int], Work]) -> Started | None:
    """Starts the batch that is due for longest, once, whatever number of processes ask; None when there is none.

    In a transaction of its own: the batch is started by its commit or not at all. ``work_of`` makes the work of a
    batch, in its trace. Raises StartFailed.
    """
    async with conn.transaction():
        due = await schedule.take_scheduled(conn)
        if due is None:
            return None
        try:
            with continued(due.traceparent):
                started = await _settle(work_of(due.batch_id), conn, due)
            await schedule.forget_scheduled(conn, due.batch_id)
        except StartFailed:
            raise
        except Exception as error:
            raise StartFailed(due.batch_id) from error
    return started


async def _settle(work: Work, conn: Connection, due: DueRow) -> Started:
    if due.state != BatchState.SCHEDULED:
        return Started(due.batch_id, running=False, late=0.0, traceparent=due.traceparent)
    refused: str | None = None
    try:
        async with conn.transaction():
            row = await _start(work, conn, due)
        running = row.delivered + row.skipped < row.total
    except Refusal as refusal:
        refused, running = _reason(refusal), False
        if await schedule.refuse_start(conn, due.batch_id, error=refused, cause=work.cause) is None:
            raise StartFailed(due.batch_id) from None
    return Started(due.batch_id, running, due.late, due.traceparent, refused)


def _reason(refusal: Refusal) -> str:
    return f"{refusal.attribute} {refusal.message or refusal.code}".strip()


async def _start(work: Work, conn: Connection, due: DueRow) -> schedule.StartedRow:
    kept = read_request(due.request)
    request = await _request(work, conn, kept, due.sender_id)
    try:
        plan: create.Validated | None = await create.validate(work, conn, request)
    except Refusal as refusal:
        if await _is_the_senders(conn, request, refusal):
            raise
        plan = None
    if plan is None:
        start = schedule.Start(tags=None, recipients=(), chunk_size=1)
    else:
        await count_send(conn, work.settings, request.author_id, len(plan.recipients))
        start = await _written(work, conn, request, replace(plan, send=replace(plan.send, id=due.send_id)))
    row = await schedule.start_batch(
        conn,
        due.batch_id,
        start,
        sender_id=due.sender_id,
        cause=work.cause,
    )
    if row is None:
        raise StartFailed(due.batch_id)
    return row


async def _written(work: Work, conn: Connection, request: CreateConversation, plan: create.Validated) -> schedule.Start:
    """What the batch is from now on. A group's one conversation is opened here; all others wait for workers."""
    if plan.kind is Kind.GROUP:
        opened = await create.open_group(work, conn, request, plan)
        (group_id,) = opened.conversation_ids
        return schedule.Start(plan.tags, plan.recipients, chunk_size=1, group_id=group_id)
    await store(conn, plan.send, plan.context)
    return schedule.Start(
        plan.tags,
        plan.recipients,
        chunk_size=create.chunk_size_of(work, plan),
        members_of_course=create.only_course(plan),
        audiences=create.audiences_of(plan),
        from_conversation_id=plan.shared,
    )


async def _request(work: Work, conn: Connection, kept: KeptRequest, sender_id: int) -> CreateConversation:
    """The request of now. Who acted as the sender has to be allowed to still; merged users go by their new names."""
    await _check_exists(conn, sender_id)
    actor = None
    if kept.actor_id is not None:
        await _check_exists(conn, kept.actor_id)
        actor = await _actor(work, conn, kept.actor_id, sender_id)
    parts = [part for text in kept.recipients for part in text.split(",")]
    targets = await merge_targets(conn, parse(parts).user_ids)
    if not targets:
        return kept.request(sender_id, actor)
    renamed = [str(targets[id_].user_id) if (id_ := parse_id(part)) in targets else part for part in parts]
    return kept.request(sender_id, actor, recipients=renamed)


async def _check_exists(conn: Connection, user_id: int) -> None:
    """One whom the directory does not know (yet) is no reason: his rights say what he may."""
    if any(user.deleted for user in await dry_run.named_users(conn, [user_id], ())):
        raise Refusal(Code.BAD_AS_USER, "the sender was deleted")


async def _actor(work: Work, conn: Connection, actor_id: int, sender_id: int) -> UserRights | None:
    settings = work.settings
    try:
        found = await act_as(
            conn,
            user_id=actor_id,
            as_user_id=sender_id,
            root_account_id=settings.root_account_id,
            shard_id=settings.shard_id,
        )
    except Refusal:
        raise Refusal(Code.BAD_AS_USER, "who acted as the sender may not act as the sender any more") from None
    return found.actor if found else None


async def _is_the_senders(conn: Connection, request: CreateConversation, refusal: Refusal) -> bool:
    """Whether it is the sender who may not any more, and not that nobody who is named is left."""
    if (refusal.code, refusal.attribute, refusal.message) != (Code.INVALID_ATTRIBUTE, "recipients", "invalid"):
        return True
    named = parse(as_text(request.recipients))
    known = await sender_rights(conn, request.author_id, named, request.context_code)
    if not await writes_to_anybody(conn, known, named, request.context_code):
        return True
    return await _audiences_are_there(conn, known, named) or await _people_are_there(conn, known, named, request)


async def _audiences_are_there(conn: Connection, known: UserRights, named: Recipients) -> bool:
    """Whether the contexts that are named have people, none of whom the sender reaches."""
    places = [_place(known, audience.context, audience.types) for audience in named.audiences]
    spans = [span for found, _ in places for span in found]
    groups = [group for _, found in places for group in found]
    sender_id = known.roles.user_id
    return bool(
        (spans and await dry_run.inhabited(conn, spans, sender_id))
        or (groups and await dry_run.inhabited_groups(conn, groups, sender_id))
    )


async def _people_are_there(
    conn: Connection, known: UserRights, named: Recipients, request: CreateConversation
) -> bool:
    """Whether people who are named one by one are where the sender is, or in the context, and yet not reached."""
    if not (named.user_ids or named.uuids):
        return False
    context = sent_context(request.context_code)
    if context is not None:
        spans, groups = _place(known, context)
    else:
        spans = [Range(course_id) for course_id in sorted(known.courses) if known.roles.enrolled(course_id)]
        groups = [Members(group.id) for group in known.own_groups()]
    by_uuid = await address_book.recipients_by_uuid(conn, sorted(named.uuids)) if named.uuids else []
    people = sorted({*named.user_ids, *by_uuid} - {request.author_id})
    return bool(await address_book.reachable(conn, people, request.author_id, ranges=spans, groups=groups))


def _place(
    known: UserRights, context: Context, types: frozenset[str] | None = None
) -> tuple[list[Range], list[Members]]:
    """A context with all who are in it, whoever looks."""
    if context.type is ContextType.GROUP:
        return [], [Members(context.id)]
    course = known.course_at(context)
    section_id = context.id if context.type is ContextType.SECTION else None
    return [] if course is None else [Range(course.id, section_id, types=types)], []
