"""Requests of other systems (CONTRACT 4): POST /conversations without HTTP, by the same rules, once for each key."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from service.application.address_book.masquerade import find_user
from service.application.idempotency_keys import Handled, KeyedRequest, kept, once
from service.application.messages import create
from service.application.messages.create import Accepted
from service.application.messages.dry_run import preview
from service.application.messages.work import Work
from service.application.parameters.create_conversation import CreateParameters, command_of
from service.application.parameters.types import parse
from service.application.parameters.view import viewpoint_of
from service.application.presentation.answer import Answer
from service.application.presentation.created import answer_created
from service.application.presentation.dry_run import present_preview
from service.application.presentation.errors import answer_of
from service.contracts.commands import PlanBatch
from service.contracts.requests import Request
from service.contracts.wording import worded
from service.domain.encodings import read_json
from service.domain.errors import Code, Refusal, unreadable
from service.domain.idempotency_keys import fingerprint
from service.domain.ids import localised
from sql.connection import Connection

_OVER_HTTP = ("POST", "/api/v1/conversations")  # the same request, under the same keys


class MalformedRequest(Exception):
    """The request, its user or its key cannot be read; ``answer`` is for the requester.

    ``keyless``: it is its idempotency key that cannot be used (CONTRACT 6.23).
    """

    def __init__(self, reason: str, refusal: Refusal, *, keyless: bool = False) -> None:
        super().__init__(reason)
        self.keyless = keyless
        self.answer = kept(answer_of(refusal))


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that can be read; ``parameters``: those of POST /conversations, with any other keys of the message."""

    as_user_id: str
    key: str
    parameters: Mapping[str, Any]
    fingerprint: bytes


def read(data: bytes, *, longest: int) -> Asked:
    """The request in a message of at most ``longest`` bytes; MalformedRequest names what is wrong with it."""
    try:
        parameters = _parameters(data, longest)
    except Refusal as refusal:
        raise MalformedRequest(refusal.message or f"longer than {longest} bytes", refusal) from None
    try:
        request = Request.model_validate(parameters)
    except ValidationError as error:
        reason = worded(error)
        keyless = any(fault["loc"] == ("idempotency_key",) for fault in error.errors())
        raise MalformedRequest(reason, unreadable(reason), keyless=keyless) from None
    asked = {name: value for name, value in parameters.items() if name not in Request.model_fields}
    return Asked(request.as_user_id, request.idempotency_key, asked, fingerprint(*_OVER_HTTP, asked))


def _parameters(data: bytes, longest: int) -> dict[str, Any]:
    if len(data) > longest:
        raise Refusal(Code.TOO_LARGE)
    return read_json(data)


async def carry_out(work: Work, conn: Connection, asked: Asked) -> Handled:
    """Sends, refuses, or answers as before; committed when it returns.

    A system that may publish requests may send as any user. A user who does not exist, or may not use conversations, is
    refused as by as_user_id over HTTP. Of several at once with one key, the others wait for the first.
    """
    try:
        user_id = await _sender(work, conn, asked)
        keyed = KeyedRequest(user_id, asked.key, asked.fingerprint)
        return await once(conn, keyed, lambda: _create(work, conn, user_id, asked), waits=True)
    except Refusal as refusal:
        return Handled(kept(answer_of(refusal)))


async def _sender(work: Work, conn: Connection, asked: Asked) -> int:
    user = await find_user(conn, localised(asked.as_user_id, work.settings.shard_id))
    if user.fake_student:
        raise Refusal(Code.NOT_AUTHORISED)
    return user.user_id


async def _create(work: Work, conn: Connection, user_id: int, asked: Asked) -> Handled:
    """Within a transaction. In a batch that was accepted for later there is nothing to plan yet."""
    sent = parse(CreateParameters, dict(asked.parameters), shard_id=work.settings.shard_id)
    view = viewpoint_of(user_id, sent, work.settings, work.settings.base_url)
    command = command_of(user_id, sent)
    if command.dry_run:
        return Handled(kept(Answer(200, present_preview(await preview(work, conn, command)))))
    plan = await create.validate(work, conn, command)
    outcome = await create.carry_out(work, conn, command, plan)
    answer = await answer_created(conn, view, outcome, uuids="uuid" in sent.include)
    if isinstance(outcome, Accepted) and not outcome.scheduled:
        return Handled(kept(answer), [PlanBatch(batch_id=outcome.batch_id)])
    return Handled(kept(answer))
