"""Delivery of a chunk that one of its recipients asks for before a worker has come to it (CONTRACT 3.3).

A reader does not wait for all of a large chunk: those around the reader are cut out of it and delivered, and the rest
stays what it was, a chunk that the workers come to. That what a read costs does not grow with the chunk keeps readers'
deliveries from filling the machine while the workers' fill it.
"""

from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from time import perf_counter

import asyncpg
import structlog

from service.application.messages.chunk import ChunkOutcome, Nothing, deliver_chunk, read_chunk
from service.application.messages.chunk_parts import cut_in_two
from service.application.messages.tag_sets import TagSets
from service.application.transactions import committed
from service.contracts.commands import DeliverChunk
from service.contracts.wording import error_text, named
from service.runtime import event_metadata, metrics
from service.runtime.postgres import CONFLICT, INSTALLATION, is_unavailable
from service.runtime.settings import Settings
from service.runtime.tracing import continued
from sql.chunks import postpone_chunk
from sql.connection import Connection
from sql.early_deliveries import begin_early_delivery, cut_slice

log = structlog.get_logger(__name__)

MOST_CUTS = 12  # in one early delivery; eight take one recipient out of 150
LONGEST_WAIT = timedelta(seconds=1)  # for a lock; who has the chunk in work is through by then
SLICE = 100  # recipients that are delivered for one who reads
WHOLE = SLICE * 3 // 2  # a chunk of so many is not worth a cut
_LOOKS = 3  # for a reader whom others cut out of a chunk at the same time


class Busy(Exception):
    """Others held what the delivery has to lock for longer than a reader waits."""


@dataclass(frozen=True, slots=True)
class Slice:
    """What is to be delivered for a reader: a chunk, and all who are in it."""

    position: int
    recipients: frozenset[int]


async def cut_out(conn: Connection, batch_id: int, user_id: int) -> Slice | None:
    """The chunk that a reader waits for, cut out of a larger one if need be; None: there is none that could be had now.

    Raises what the database raises, but for locks that others hold for longer than LONGEST_WAIT.
    """
    try:
        for _ in range(_LOOKS):
            found = await cut_slice(conn, batch_id, user_id, size=SLICE, whole=WHOLE, longest_wait=LONGEST_WAIT)
            if found is not None:
                return Slice(found.position, frozenset(found.recipients))
    except CONFLICT as error:
        log.info("early_delivery_contended", batch_id=batch_id, error=named(error))
    return None


async def deliver_early(conn: Connection, settings: Settings, tag_sets: TagSets, batch_id: int, position: int) -> None:
    """Delivers a pending chunk as a worker does; raises nothing that is about the chunk or the database.

    A chunk that cannot be written is cut in two, and what can be written of it is: one recipient keeps no other from
    the message, though no worker runs. What is left is the workers'. Its failure counts as one of their attempts, and
    no reader tries it again.
    """
    waiting, cuts = [position], 0
    while waiting:
        part = waiting.pop()
        try:
            outcome = await committed(conn, partial(_deliver, conn, settings, tag_sets, batch_id, part))
        except (Busy, *CONFLICT) as error:
            log.info("early_delivery_contended", batch_id=batch_id, position=part, error=named(error))
        except Exception as error:
            if is_unavailable(error) or isinstance(error, INSTALLATION):
                log.warning("early_delivery_impossible", batch_id=batch_id, position=part, error=named(error))
                return
            metrics.CHUNKS_FAILED.inc()
            log.warning("early_delivery_failed", batch_id=batch_id, position=part, exc_info=error)
            second = await _put_off(conn, settings, batch_id, part, error, cut=cuts < MOST_CUTS)
            if second is not None:
                cuts += 1
                waiting += [second, part]
        else:
            _count(outcome)


def _count(outcome: ChunkOutcome | Nothing) -> None:
    if isinstance(outcome, ChunkOutcome):
        metrics.CHUNKS_DELIVERED.inc()
        metrics.CHUNKS_DELIVERED_EARLY.inc()
        metrics.RECIPIENTS_DELIVERED.inc(outcome.recipients)


async def _deliver(
    conn: Connection, settings: Settings, tag_sets: TagSets, batch_id: int, position: int
) -> ChunkOutcome | Nothing:
    """Within the caller's transaction."""
    started = perf_counter()
    try:
        traceparent = await begin_early_delivery(conn, batch_id, longest_wait=LONGEST_WAIT)
        pending = await read_chunk(conn, batch_id, position)
        if isinstance(pending, Nothing):
            return pending
        command = DeliverChunk(batch_id=batch_id, position=position)
        with continued(traceparent):
            cause = event_metadata.job(settings, message_id=command.message_id, name=command.name)
        outcome = await deliver_chunk(conn, tag_sets, pending, cause=cause)
    except asyncpg.LockNotAvailableError as error:
        raise Busy(str(error)) from error
    seconds = perf_counter() - started
    if isinstance(outcome, ChunkOutcome):
        metrics.CHUNK_SECONDS.observe(seconds)
        log.info(
            "chunk_delivered",
            batch_id=batch_id,
            position=position,
            recipients=outcome.recipients,
            reused=outcome.reused,
            seconds=round(seconds, 4),
            early=True,
        )
    return outcome


async def _put_off(
    conn: Connection, settings: Settings, batch_id: int, position: int, error: Exception, *, cut: bool
) -> int | None:
    """Cuts a chunk that has failed, if it may be, and says where its second half is; else leaves it to the workers.

    Nothing is commanded: the sweeper finds the halves, should this process not come to them.
    """
    reason, first_wait = error_text(error), timedelta(seconds=settings.retry_after)
    try:
        async with conn.transaction():
            second = await cut_in_two(conn, batch_id, position, error=reason, patience=timedelta()) if cut else None
            if second is None:
                await postpone_chunk(conn, batch_id, position, error=reason, first_wait=first_wait)
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as second_error:
        log.warning("early_delivery_not_put_off", batch_id=batch_id, position=position, error=named(second_error))
        return None
    return second
