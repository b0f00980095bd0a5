"""Publishing dead letters with their reason: the one place that does it for messages that cannot be handled."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from aio_pika.abc import AbstractIncomingMessage

from service.runtime import metrics
from service.runtime.broker import BrokerUnavailable
from service.runtime.publisher import Publisher
from service.runtime.tracing import HEADER, continued, current_traceparent
from workers.backoff import FIRST_RETRY, one_of, pauses
from workers.outcome import DeadLetter, Done, Outcome, Requeue

log = structlog.get_logger(__name__)

PUBLISH_ATTEMPTS = 7  # at a dead letter with its reason; then the broker's own dead-lettering takes it
REASONS_LOGGED = 5  # different ones of a set


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that cannot be handled, and why."""

    message: AbstractIncomingMessage
    reason: str


async def publish_dead_letters(
    publisher: Publisher, refused: Sequence[Refused], *, source: str, ends: tuple[asyncio.Event, ...]
) -> list[Outcome]:
    """Publishes messages among the dead letters of ``source``, the queue they came from; says how to settle each.

    All are on their way at once. Done once that is confirmed; Requeue when one of ``ends`` was set before; DeadLetter
    when only the broker can still dead-letter it, without a reason.
    """
    now = datetime.now(UTC)  # one for all attempts: should two of them succeed, both letters have the same id
    outcomes: dict[int, Outcome] = {}
    waiting = list(range(len(refused)))
    retries = pauses(FIRST_RETRY)
    for attempt in range(1, PUBLISH_ATTEMPTS + 1):
        errors = await asyncio.gather(*(_attempt(publisher, refused[place], source, now) for place in waiting))
        confirmed = [place for place, error in zip(waiting, errors, strict=True) if error is None]
        outcomes |= dict.fromkeys(confirmed, Done())
        if confirmed:
            metrics.DEAD_LETTERS.labels(source).inc(len(confirmed))
            log.error("dead_lettered", messages=len(confirmed), reasons=_reasons(refused[it] for it in confirmed))
        waiting = [place for place, error in zip(waiting, errors, strict=True) if error is not None]
        if not waiting:
            break
        pause, last = next(retries), attempt == PUBLISH_ATTEMPTS
        error = next(str(error) for error in errors if error is not None)
        log.warning("dead_letter_failed", messages=len(waiting), error=error, retry_in=None if last else pause)
        if not last and await one_of(*ends, within=pause):
            outcomes |= dict.fromkeys(waiting, Requeue("not yet among the dead letters"))
            break
    else:
        metrics.DEAD_LETTERS.labels(source).inc(len(waiting))
        log.error("dead_lettered_by_broker", messages=len(waiting), reasons=_reasons(refused[it] for it in waiting))
        outcomes |= {place: DeadLetter(refused[place].reason) for place in waiting}
    return [outcomes[place] for place in range(len(refused))]


async def _attempt(publisher: Publisher, refused: Refused, source: str, now: datetime) -> BrokerUnavailable | None:
    """Why it was not confirmed, None where it was."""
    message = refused.message
    # A set of messages belongs to no one trace, but each of its dead letters to the one that its message came in.
    trace = continued(message.headers.get(HEADER)) if current_traceparent() is None else nullcontext()
    try:
        with trace:
            await publisher.dead_letter(
                message, reason=refused.reason, source=source, routing_key=message.routing_key or "", now=now
            )
    except BrokerUnavailable as error:
        return error
    return None


def _reasons(refused: Iterable[Refused]) -> dict[str, int]:
    """How often which reason was given; of a set with many the commonest."""
    return dict(Counter(each.reason for each in refused).most_common(REASONS_LOGGED))
