"""Requests of other systems: carried out once for each key, and answered to ``reply_to`` (CONTRACT 4)."""

import re
import secrets
from functools import partial

import asyncpg
import orjson
import structlog
from aio_pika.abc import AbstractIncomingMessage
from structlog.contextvars import bound_contextvars

from service.application.amqp_requests import Asked, MalformedRequest, carry_out, read
from service.application.idempotency_keys import Handled, kept
from service.application.messages.tag_sets import TagSets
from service.application.messages.work import Work
from service.application.presentation.errors import fault
from service.contracts.commands import AnyCommand
from service.contracts.requests import MAX_ANSWER_BYTES, OMITTED, REPLAYED
from service.contracts.topology import CREATE_CONVERSATION, Topology
from service.runtime import event_metadata, metrics
from service.runtime.answer_publisher import AnswerPublisher
from service.runtime.broker import BrokerUnavailable, Session
from service.runtime.ids import IdBlocks
from service.runtime.postgres import ACQUIRE_TIMEOUT
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql.idempotency_keys import KeptAnswer
from workers.backoff import pauses
from workers.consumer import MessageConsumer
from workers.outcome import DeadLetter, Done, Outcome, Requeue, outcome_of

log = structlog.get_logger(__name__)

LANES = 4  # requests in work at once; each has a connection to the database
ATTEMPTS = 5  # at an answer that the broker does not confirm, though it is there


class RequestConsumer(MessageConsumer):
    """Consumes the queue of requests. Any number of them, in any number of processes, may get the same key."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        self._topology = Topology(settings.amqp_prefix)
        super().__init__(settings, "requests", self._topology.requests, publisher, lanes=LANES, replaceable=False)
        self._pool = pool
        self._ids, self._tag_sets = IdBlocks(), TagSets()
        self._answers = AnswerPublisher(settings, "clarion-answers")

    async def start(self) -> None:
        """Connects and consumes, in the background."""
        await self._answers.broker.start()
        await super().start()

    async def drain(self) -> None:
        """Takes no new request, finishes and answers those in work, disconnects."""
        await super().drain()
        await self._answers.broker.stop()

    async def handle(self, session: Session, message: AbstractIncomingMessage) -> Outcome:
        """A request that cannot be read is answered like any other, and goes to the dead letters.

        One without a usable key does not, if it names a queue for the answer (CONTRACT 6.23). One whose answer may not
        go where it asks is not carried out.
        """
        if message.reply_to and not self._may_answer(message.reply_to):
            return DeadLetter(f"answers may not go to the queue {message.reply_to!r} (CLARION_REPLY_TO)")
        try:
            asked = read(message.body, longest=self._settings.max_body_bytes)
        except MalformedRequest as error:
            outcome = await self._reply(session, message, Handled(error.answer))
            if isinstance(outcome, Done) and not (error.keyless and message.reply_to):
                return DeadLetter(f"not a request: {error}")
            return outcome
        with bound_contextvars(as_user_id=asked.as_user_id, idempotency_key=asked.key):
            return await self.hold(session, partial(self._carry_out, session, message, asked))

    def _may_answer(self, queue: str) -> bool:
        """Not to a queue of Clarion's own, where an answer would be taken for a command or an event."""
        return not self._topology.owns(queue) and re.fullmatch(self._settings.reply_to, queue) is not None

    async def _carry_out(self, session: Session, message: AbstractIncomingMessage, asked: Asked) -> Outcome:
        """Raises what interrupts it: whether a commit counted is unknown, and the next attempt asks the key."""
        try:
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
                handled = await carry_out(self._work(message, asked), conn, asked)
        except Exception as error:
            outcome = outcome_of(error)
            if isinstance(outcome, Requeue):
                raise
            report_id = secrets.randbelow(10**12)
            log.exception("request_failed", error_report_id=report_id)
            answered = await self._reply(session, message, Handled(kept(fault(report_id))))
            return outcome if isinstance(answered, Done) else answered
        log.info("request_handled", status=handled.answer.status, replayed=handled.replayed)
        for command in handled.commands:
            await self._plan(command)
        return await self._reply(session, message, handled)

    def _work(self, message: AbstractIncomingMessage, asked: Asked) -> Work:
        message_id = message.message_id or asked.key
        cause = event_metadata.job(self._settings, message_id=message_id, name=CREATE_CONVERSATION)
        return Work(self._settings, self._ids, self._tag_sets, cause)

    async def _plan(self, command: AnyCommand) -> None:
        """Should this fail, a sweeper finds the batch."""
        metrics.BATCHES_ACCEPTED.inc()
        try:
            await self._publisher.command(command)
        except BrokerUnavailable as error:
            log.warning("command_not_published", message_id=command.message_id, error=str(error))

    async def _reply(self, session: Session, message: AbstractIncomingMessage, handled: Handled) -> Outcome:
        """Done also when the queue does not take it: the requester may repeat the key. Requeue: interrupted."""
        metrics.REQUESTS_HANDLED.labels(handled.answer.status).inc()
        if not message.reply_to:
            return Done()
        attempts, retries = 0, pauses()
        while attempts < ATTEMPTS:
            attempts += self._answers.connected
            pause = next(retries)
            try:
                if await self._publish(message.reply_to, message.correlation_id, handled):
                    return Done()
                return _lost(message.reply_to, "unroutable")
            except BrokerUnavailable as error:
                log.warning("answer_not_published", reply_to=message.reply_to, error=str(error), retry_in=pause)
            if await self._interrupted_within(session, pause):
                return Requeue("not yet answered")
        return _lost(message.reply_to, "not confirmed")

    async def _publish(self, queue: str, correlation_id: str | None, handled: Handled) -> bool:
        answer = _sendable(handled.answer)
        headers = {**answer.headers, **({REPLAYED: "true"} if handled.replayed else {})}
        payload = orjson.dumps({"status": answer.status, "body": orjson.Fragment(answer.body)})
        return await self._answers.publish(
            queue, payload, kind=CREATE_CONVERSATION, correlation_id=correlation_id, headers=headers
        )


def _sendable(answer: KeptAnswer) -> KeptAnswer:
    """Without its body when no message can carry that."""
    if len(answer.body) <= MAX_ANSWER_BYTES:
        return answer
    return KeptAnswer(answer.status, {**answer.headers, OMITTED: f"{len(answer.body)} bytes"}, b"null")


def _lost(reply_to: str, reason: str) -> Outcome:
    metrics.ANSWERS_LOST.labels(reason).inc()
    log.error("answer_lost", reply_to=reply_to, reason=reason)
    return Done()
