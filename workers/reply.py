"""DeliverReply: writes what waits in one conversation, in order; and the sweeper of replies whose command was lost."""

import asyncio
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta

import asyncpg
import structlog

from service.application.messages.reply import deliver_queued, late_turn, next_turn
from service.application.messages.tag_sets import TagSets
from service.contracts.commands import DeliverReply
from service.contracts.wording import error_text
from service.runtime import event_metadata
from service.runtime.postgres import ACQUIRE_TIMEOUT
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from service.runtime.tracing import continued
from sql import pending_replies
from sql.attempts import Redelivery
from sql.connection import Connection
from workers.attempts import AttemptedRow, Attempts, retry_conflicts
from workers.outcome import DeadLetter, Done, Outcome, Requeue, outcome_of
from workers.sweeper import SWEEP_LIMIT, Sweeper

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _ReplyRow(AttemptedRow):
    """When it is given up, those that wait behind it pass it."""

    reply_id: int

    async def postpone(self, conn: Connection, *, error: str, first_wait: timedelta) -> int | None:
        return await pending_replies.postpone_reply(conn, self.reply_id, error=error, first_wait=first_wait)

    async def count_redelivery(self, conn: Connection) -> Redelivery | None:
        return await pending_replies.count_reply_redelivery(conn, self.reply_id)

    async def forgive_redelivery(self, conn: Connection) -> None:
        await pending_replies.forgive_reply_redelivery(conn, self.reply_id)

    async def defer(self, conn: Connection, *, wait: timedelta) -> None:
        await pending_replies.defer_reply(conn, self.reply_id, wait=wait)

    async def fail(self, conn: Connection, *, error: str) -> None:
        await pending_replies.fail_reply(conn, self.reply_id, error=error)


class ReplyWriter(Sweeper):
    """Handles DeliverReply; any number of them, in any number of processes, keep a conversation's order."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, publisher)
        self._settings = settings
        self._patience = timedelta(seconds=settings.retry_after)
        self._pool = pool
        self._attempts = Attempts(pool, "reply", first_wait=self._patience)
        self._tag_sets = TagSets()

    async def handle(self, command: DeliverReply) -> Outcome:
        """Delivers the line of the reply's conversation to its end, one transaction a reply.

        A reply that was given up is tried once more, since its dead letter was requeued.

        Raises what lies outside the reply (workers.outcome.is_outside): whether a commit counted is then unknown, and
        the next attempt asks the row.
        """
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            found = await pending_replies.conversation_of_reply(conn, command.reply_id)
        if found is None:
            log.info("nothing_to_reply")
            return Done()
        conversation_id, given_up = found
        if given_up:
            return await self._deliver_one(conversation_id, command, late=True) or Done()
        while (outcome := await self._deliver_one(conversation_id, command)) is None:
            pass
        return outcome

    async def redelivered(self, command: DeliverReply) -> Outcome | None:
        """Notes that a command was delivered before and not settled: its worker may have been killed by a reply."""
        return await self._attempts.redelivered(_ReplyRow(command.reply_id))

    async def survived(self, command: DeliverReply) -> None:
        """Notes that it did not."""
        await self._attempts.survived(_ReplyRow(command.reply_id))

    async def _deliver_one(self, conversation_id: int, command: DeliverReply, *, late: bool = False) -> Outcome | None:
        """Delivers one reply; None when it is done and another one may wait behind it."""
        commanded_id = in_work = command.reply_id

        async def write() -> bool:
            """False when no reply's turn has come."""
            nonlocal in_work
            async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn, conn.transaction():
                turn = await (late_turn if late else next_turn)(conn, conversation_id, commanded_id)
                if turn is None:
                    return False
                in_work = turn.waiting.id
                # Those that come with the commanded one are in traces of their own.
                with continued(turn.waiting.traceparent) if in_work != commanded_id else nullcontext():
                    cause = event_metadata.job(self._settings, message_id=command.message_id, name=command.name)
                    await deliver_queued(conn, self._tag_sets, turn, cause=cause)
            return True

        try:
            delivered = await retry_conflicts(write, event="conversation_contended")
        except Exception as error:
            if late:
                return _late_outcome(error)
            # Those that wait behind the reply are left to the sweeper with it.
            return await self._attempts.failed(_ReplyRow(in_work), error, event="reply_postponed")
        if not delivered:
            return Done()
        log.info("reply_delivered", delivered_id=in_work, conversation_id=conversation_id)
        return None

    async def sweep(self) -> int:
        """Publishes the first reply of every line that no worker is at; returns how many."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            due = await pending_replies.take_due_replies(conn, patience=self._patience, limit=SWEEP_LIMIT)
        await asyncio.gather(*(self._repeat(DeliverReply(reply_id=reply_id), trace) for reply_id, trace in due))
        if due:
            log.info("replies_swept", replies=len(due))
        return len(due)


def _late_outcome(error: Exception) -> Outcome:
    """A reply that was given up has no attempts left; raises what is to be held."""
    if isinstance(outcome_of(error), Requeue):
        raise error
    log.exception("late_reply_failed")
    return DeadLetter(error_text(error))
