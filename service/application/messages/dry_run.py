"""dry_run of POST /conversations: what a send would do, by the validation of the send itself, and nothing written."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from service.application.address_book.recipient_checks import size_limit
from service.application.address_book.recipients import reach
from service.application.address_book.rights import UserRights
from service.application.messages.create import Validated, is_asynchronous, validate
from service.application.messages.create_request import CreateConversation
from service.application.messages.daily_limit import check_alone, check_send
from service.application.messages.work import Work
from service.domain.contexts import Context, ContextType
from service.domain.dry_run import Findings, Rejected, rejections
from service.domain.messages import Kind
from service.domain.recipients import Audience, Recipients, as_text
from sql import dry_run
from sql.connection import Connection


@dataclass(frozen=True, slots=True)
class Preview:
    """What would happen. ``limit``: recipients that a message of this kind may have."""

    asynchronous: bool
    kind: Kind
    total: int
    new_conversations: int
    reused_conversations: int
    limit: int | None
    rejected: Sequence[Rejected]


async def preview(work: Work, conn: Connection, request: CreateConversation) -> Preview:
    """Raises the Refusal that the request would be refused with. Reads only."""
    plan = await validate(work, conn, request)
    total = len(plan.recipients)
    if request.send_at is None:
        await check_send(conn, work.settings, request.author_id, total)
    else:
        check_alone(work.settings, total)
    reused = await _reused(conn, request, plan)
    return Preview(
        asynchronous=is_asynchronous(work.settings, request, plan),
        kind=plan.kind,
        total=total,
        new_conversations=1 if plan.kind is Kind.GROUP else total - reused,
        reused_conversations=reused,
        limit=size_limit(work.settings, plan.kind),
        rejected=await _rejected(conn, request, plan),
    )


async def _reused(conn: Connection, request: CreateConversation, plan: Validated) -> int:
    if plan.kind not in (Kind.PRIVATE, Kind.BULK_PRIVATE):
        return 0
    context_key = plan.context.key if plan.context else 0
    return await dry_run.count_threads(conn, request.author_id, plan.recipients, context_key=context_key)


async def _rejected(conn: Connection, request: CreateConversation, plan: Validated) -> list[Rejected]:
    named, recipients = plan.named, frozenset(plan.recipients)
    missing = named.user_ids - recipients
    users = await dry_run.named_users(conn, missing, named.uuids) if missing or named.uuids else []
    reached = await _reached(conn, plan.known, named)
    unreached = {audience.context for audience in named.audiences - reached}
    findings = Findings(
        sender_id=request.author_id,
        recipients=recipients,
        users={user.id: user.deleted for user in users},
        uuids={user.uuid: user.id for user in users if user.uuid is not None},
        contexts=await _contexts(conn, unreached) if unreached else {},
        reached=reached,
    )
    local = as_text(request.recipients)
    return rejections(zip(as_text(request.recipients_sent) or local, local, strict=True), findings)


async def _reached(conn: Connection, known: UserRights, named: Recipients) -> frozenset[Audience]:
    """Audiences in which the sender finds anybody; one that alone is named is one of them, or nobody were found."""
    if len(named.audiences) == 1 and not (named.user_ids or named.uuids):
        return named.audiences
    places = [(audience, reach(known, audience)) for audience in named.audiences]
    spans = [(audience, span) for audience, (found, _) in places for span in found]
    groups = [(audience, group) for audience, (_, found) in places for group in found]
    sender_id = known.roles.user_id
    enrolled = await dry_run.inhabited(conn, [span for _, span in spans], sender_id) if spans else set()
    joined = await dry_run.inhabited_groups(conn, [group for _, group in groups], sender_id) if groups else set()
    return frozenset({*(spans[n][0] for n in enrolled), *(groups[n][0] for n in joined)})


async def _contexts(conn: Connection, contexts: Collection[Context]) -> dict[Context, bool]:
    """Whether each is deleted, of those that there are."""
    ids = {type_: sorted(context.id for context in contexts if context.type is type_) for type_ in ContextType}
    rows = await dry_run.named_contexts(
        conn,
        course_ids=ids[ContextType.COURSE],
        section_ids=ids[ContextType.SECTION],
        group_ids=ids[ContextType.GROUP],
    )
    return {Context(ContextType(row.type), row.id): row.deleted for row in rows}
