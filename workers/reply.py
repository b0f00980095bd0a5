"""DeliverReply: writes what waits in one conversation, in order; and the sweeper of what nobody was told to write."""

import asyncio
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from service.application.messages.reply import deliver_queued, late_turn, next_turn
from service.application.messages.tag_sets import TagSets
from service.contracts.commands import DeliverReply
from service.runtime import event_metadata
from service.runtime.postgres import ACQUIRE_TIMEOUT, CONFLICT, is_unavailable
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from service.runtime.tracing import continued
from sql import pending_replies
from workers.consumer import HAND_OUTS, NO_VERDICT
from workers.deliver import MAX_ATTEMPTS, MEETINGS, told
from workers.outcome import Discard, Done, Verdict
from workers.sweeper import SWEEP_LIMIT, Sweeper

log = structlog.get_logger(__name__)


class ReplyWriter(Sweeper):
    """Handles DeliverReply; any number of them, in any number of processes, keep a conversation's order."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, publisher)
        self._settings = settings
        self._patience = timedelta(seconds=settings.retry_after)
        self._pool = pool
        self._tag_sets = TagSets()

    async def handle(self, command: DeliverReply) -> Verdict:
        """Delivers the line of the reply's conversation to its end, one transaction a reply.

        A reply that was given up is tried once more, since somebody has requeued its letter.

        Raises what postgres.is_unavailable knows: whether a commit counted is then unknown, and the row will tell.
        """
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            found = await pending_replies.conversation_of_reply(conn, command.reply_id)
        if found is None:
            log.info("nothing_to_reply")
            return Done()
        conversation_id, given_up = found
        if given_up:
            return await self._deliver_one(conversation_id, command, late=True) or Done()
        while (verdict := await self._deliver_one(conversation_id, command)) is None:
            pass
        return verdict

    async def returned(self, command: DeliverReply) -> Verdict | None:
        """Notes that a command was handed out before and brought no verdict: its worker may have died of it."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            error = await pending_replies.count_reply_redelivery(
                conn, command.reply_id, max_redeliveries=HAND_OUTS, error=NO_VERDICT, now=datetime.now(UTC)
            )
        return None if error is None else Discard(error)

    async def _deliver_one(self, conversation_id: int, command: DeliverReply, *, late: bool = False) -> Verdict | None:
        """Delivers one reply; None when it is done and another one may wait behind it."""
        commanded_id = waiting_id = command.reply_id
        for meeting in range(MEETINGS):
            try:
                async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn, conn.transaction():
                    turn = await (late_turn if late else next_turn)(conn, conversation_id, commanded_id)
                    if turn is None:
                        return Done()
                    waiting_id = turn.waiting.id
                    # Those that come with the commanded one are in traces of their own.
                    with continued(turn.waiting.traceparent) if waiting_id != commanded_id else nullcontext():
                        cause = event_metadata.job(self._settings, message_id=command.message_id, name=command.name)
                        await deliver_queued(conn, self._tag_sets, turn, cause=cause)
            except CONFLICT as error:
                log.info("conversation_contended", meeting=meeting, error=type(error).__name__)
            except Exception as error:
                if is_unavailable(error):
                    raise
                log.exception("reply_failed")
                return Discard(told(error)) if late else await self._give_back(waiting_id, told(error))
            else:
                log.info("reply_delivered", delivered_id=waiting_id, conversation_id=conversation_id)
                return None
        contended = f"other sends were in the way {MEETINGS} times"
        return Discard(contended) if late else await self._give_back(waiting_id, contended)

    async def _give_back(self, reply_id: int, error: str) -> Verdict:
        """Leaves the reply to the sweeper, with all that wait behind it, or gives it up and lets them pass."""
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            given_up = await pending_replies.postpone_reply(
                conn,
                reply_id,
                error=error,
                now=datetime.now(UTC),
                first_wait=self._patience,
                max_attempts=MAX_ATTEMPTS,
            )
        return Discard(error) if given_up else Done()

    async def sweep(self) -> int:
        """Publishes the first reply of every line that nobody works on; returns how many."""
        now = datetime.now(UTC)
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            due = await pending_replies.take_due_replies(conn, now=now, due_at=now + self._patience, limit=SWEEP_LIMIT)
        await asyncio.gather(*(self._repeat(DeliverReply(reply_id=reply_id), trace) for reply_id, trace in due))
        if due:
            log.info("replies_swept", replies=len(due))
        return len(due)
