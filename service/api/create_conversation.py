"""POST /conversations: parse, validate, then write it now or accept it for the workers."""

import asyncio

import structlog
from aiohttp import web

from service.api.authentication import caller
from service.api.database import connection
from service.api.fields import CanvasBool, IdList, RawList, ScalarString, StringList, parse
from service.api.keys import BROKER, CREATOR, PUBLISHING
from service.api.parameters import read_parameters
from service.api.responses import respond
from service.api.viewpoints import ViewParameters, includes, viewpoint
from service.application.creating import Accepted, CreateConversation, Created, Validated
from service.application.presenting import present
from service.contracts.commands import PlanBatch
from service.runtime.broker import BrokerUnavailable
from service.runtime.metrics import BATCHES_ACCEPTED
from service.runtime.postgres import CONFLICT
from sql.connection import Connection

log = structlog.get_logger(__name__)

MEETINGS = 10  # attempts when another send opens or changes the same threads at the same time


class CreateParameters(ViewParameters):
    """canvas/endpoints.md 4.2"""

    recipients: RawList = []
    body: ScalarString = None
    subject: ScalarString = None
    group_conversation: CanvasBool = False
    bulk_message: CanvasBool = False
    force_new: CanvasBool = False
    mode: ScalarString = None
    context_code: ScalarString = None
    attachment_ids: IdList = []
    forwarded_message_ids: IdList = []
    media_comment_id: ScalarString = None
    media_comment_type: ScalarString = None
    tags: StringList = []
    user_note: CanvasBool = False
    display_from: ScalarString = None


def _command(author_id: int, sent: CreateParameters) -> CreateConversation:
    return CreateConversation(
        author_id=author_id,
        recipients=sent.recipients,
        body=sent.body or "",
        subject=sent.subject,
        group_conversation=sent.group_conversation,
        bulk_message=sent.bulk_message,
        force_new=sent.force_new,
        asynchronous=sent.mode == "async",
        context_code=sent.context_code or None,
        attachment_ids=sent.attachment_ids,
        forwarded_message_ids=sent.forwarded_message_ids,
        media_comment_id=sent.media_comment_id or None,
        media_comment_type=sent.media_comment_type or None,
        tags=sent.tags,
        user_note=sent.user_note,
        display_from=sent.display_from or None,
    )


async def create_conversation(request: web.Request) -> web.Response:
    """202 with the batch's id for an asynchronous bulk send, else 201 with the conversations."""
    parameters = await read_parameters(request)
    sent = parse(CreateParameters, parameters)
    view = viewpoint(request, sent)
    command = _command(caller(request).user_id, sent)
    creator = request.app[CREATOR]
    async with connection(request) as conn:
        plan = await creator.validate(conn, command)
        outcome = await _carry_out(request, conn, command, plan)
        if isinstance(outcome, Accepted):
            _announce(request, outcome.batch_id)
            return respond(request, [], 202, {"X-Conversation-Batch-Id": str(outcome.batch_id)})
        single = outcome.single
        shown = await present(
            conn,
            view,
            outcome.conversation_ids,
            messages="none" if single is None else {single[0]: single[1]},
            avatars=single is not None,
            contexts=single is not None,
            with_context_name=False,
            uuids="uuid" in includes(request, sent, parameters),
            forwarded_authors=single is not None,
        )
    return respond(request, shown, 201)


async def _carry_out(
    request: web.Request, conn: Connection, command: CreateConversation, plan: Validated
) -> Accepted | Created:
    """In one transaction; when another send met it, again, and then it finds what the other has written."""
    for _ in range(MEETINGS - 1):
        try:
            async with conn.transaction():
                return await request.app[CREATOR].create(conn, command, plan)
        except CONFLICT as error:
            log.info("threads_contended", error=type(error).__name__)
    async with conn.transaction():
        return await request.app[CREATOR].create(conn, command, plan)


def _announce(request: web.Request, batch_id: int) -> None:
    """Commands the planning without holding up the answer: the batch is committed, and the sweeper finds it anyway."""
    BATCHES_ACCEPTED.inc()
    tasks = request.app[PUBLISHING]
    task = asyncio.create_task(_publish(request.app, batch_id))
    tasks.add(task)
    task.add_done_callback(tasks.discard)


async def _publish(app: web.Application, batch_id: int) -> None:
    try:
        await app[BROKER].command(PlanBatch(batch_id=batch_id))
    except BrokerUnavailable as error:
        log.warning("plan_not_published", batch_id=batch_id, error=str(error))


routes = [web.post("/api/v1/conversations", create_conversation)]
