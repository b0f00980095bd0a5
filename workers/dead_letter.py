"""To the dead letters, with the reason: the one place where a message that cannot be handled is put away."""

import asyncio
from datetime import UTC, datetime

import structlog
from aio_pika.abc import AbstractIncomingMessage

from service.runtime.broker import BrokerUnavailable
from service.runtime.publisher import Publisher
from workers.backoff import FIRST_RETRY, one_of, pauses
from workers.outcome import DeadLetter, Done, Outcome, Requeue

log = structlog.get_logger(__name__)

PUBLISH_ATTEMPTS = 5  # at a dead letter with its reason; then the broker's own dead-lettering takes it


async def publish_dead_letter(
    publisher: Publisher, message: AbstractIncomingMessage, reason: str, *, source: str, ends: tuple[asyncio.Event, ...]
) -> Outcome:
    """Publishes the message among the dead letters of ``source``, the queue it came from; says how to settle it.

    Done once that is confirmed; Requeue when one of ``ends`` was set before; DeadLetter when only the broker can still
    put it away, without a reason.
    """
    retries = pauses(FIRST_RETRY)
    now = datetime.now(UTC)  # one for all attempts: should two of them succeed, they are one letter twice
    for _ in range(PUBLISH_ATTEMPTS):
        pause = next(retries)
        try:
            await publisher.dead_letter(
                message, reason=reason, source=source, routing_key=message.routing_key or "", now=now
            )
        except BrokerUnavailable as error:
            log.warning("dead_letter_failed", error=str(error), retry_in=pause)
        else:
            log.error("dead_lettered", reason=reason)
            return Done()
        if await one_of(*ends, within=pause):
            return Requeue("not yet among the dead letters")
    log.error("dead_lettered_by_broker", reason=reason)
    return DeadLetter(reason)
