"""POST /conversations: parse, validate, then write it now or accept it for the workers."""

from dataclasses import replace

from aiohttp import web

from service.api.access import caller_accounts
from service.api.authentication import caller
from service.api.database import connection
from service.api.description import Outcome, describe
from service.api.publish import announce
from service.api.responses import respond
from service.api.viewpoint import includes, viewpoint
from service.api.work import work_of
from service.application.messages.create import Accepted, Created, carry_out, validate
from service.application.messages.create_request import CreateConversation
from service.application.messages.dry_run import preview
from service.application.messages.work import Work
from service.application.parameters.create_conversation import CreateParameters, command_of
from service.application.presentation.created import answer_created
from service.application.presentation.dry_run import present_preview
from service.application.presentation.shapes import Conversation, DryRun
from service.application.transactions import committed
from service.contracts.commands import PlanBatch
from service.domain.errors import Code
from service.runtime.metrics import BATCHES_ACCEPTED
from sql.connection import Connection

REQUIRED = ("recipients", "body")  # over AMQP too (service/api/asyncapi.py)


@describe(
    "Send a message",
    {
        200: Outcome("What would happen: the answer to `dry_run`.", DryRun),
        201: Outcome("The conversations it went to.", list[Conversation]),
        202: Outcome(
            "Accepted for delivery, at once or at `send_at`; an empty array.",
            list[Conversation],
            headers=("X-Conversation-Batch-Id",),
        ),
    },
    text="Into the thread with the one recipient, into one new conversation with all of them, or into one with each.",
    parameters=CreateParameters,
    required=REQUIRED,
    refusals=(Code.INVALID_ATTRIBUTE, Code.INVALID_RECORD, Code.NOT_FOUND),
)
async def create_conversation(request: web.Request, sent: CreateParameters) -> web.Response:
    """202 with the batch's id for an asynchronous bulk send or one for later, else 201 with the conversations."""
    view = viewpoint(request, sent)
    command = command_of(caller(request).user_id, sent, caller(request).actor)
    uuids = "uuid" in includes(request, sent)
    work = work_of(request)
    if command.dry_run:
        return await _dry_run(request, work, command)
    async with connection(request) as conn:
        outcome = await committed(conn, lambda: _create(work, conn, command))
        if isinstance(outcome, Accepted):
            BATCHES_ACCEPTED.inc()
            if not outcome.scheduled:
                announce(request, PlanBatch(batch_id=outcome.batch_id))
        view = replace(view, accounts=await caller_accounts(request, conn))
        answer = await answer_created(conn, view, outcome, uuids=uuids)
    return respond(request, answer.body, answer.status, answer.headers)


async def _create(work: Work, conn: Connection, command: CreateConversation) -> Accepted | Created:
    return await carry_out(work, conn, command, await validate(work, conn, command))


async def _dry_run(request: web.Request, work: Work, command: CreateConversation) -> web.Response:
    """Read-only to the database as well."""
    async with connection(request) as conn, conn.transaction(readonly=True):
        seen = await preview(work, conn, command)
    return respond(request, present_preview(seen))


routes = [web.post("/api/v1/conversations", create_conversation)]
