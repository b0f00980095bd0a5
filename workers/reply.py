"""DeliverReply: writes what waits in one conversation, in order; and the sweeper of what nobody was told to write."""

import asyncio
from datetime import UTC, datetime, timedelta

import asyncpg
import structlog

from service.application.replying import deliver_queued, next_turn
from service.application.tagging import TagSets
from service.contracts.commands import DeliverReply
from service.runtime.broker import Publisher
from service.runtime.postgres import ACQUIRE_TIMEOUT, CONFLICT, is_unavailable
from service.runtime.settings import Settings
from sql import pending_replies
from workers.deliver import MAX_ATTEMPTS, MEETINGS, told
from workers.sweeping import SWEEP_LIMIT, Sweeper
from workers.verdict import Discard, Done, Verdict

log = structlog.get_logger(__name__)


class ReplyWriter(Sweeper):
    """Handles DeliverReply; any number of them, in any number of processes, keep a conversation's order."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> None:
        super().__init__(settings, publisher)
        self._patience = timedelta(seconds=settings.retry_after)
        self._pool = pool
        self._tag_sets = TagSets()

    async def handle(self, command: DeliverReply) -> Verdict:
        """Delivers the line of the reply's conversation to its end, one transaction a reply.

        Raises what postgres.is_unavailable knows: whether a commit counted is then unknown, and the row will tell.
        """
        async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            conversation_id = await pending_replies.conversation_of_reply(conn, command.reply_id)
        if conversation_id is None:
            log.info("nothing_to_reply")
            return Done()
        while (verdict := await self._deliver_next(conversation_id, command.reply_id)) is None:
            pass
        return verdict

    async def _deliver_next(self, conversation_id: int, commanded_id: int) -> Verdict | None:
        """Delivers one reply; None when it is done and another one may wait behind it."""
        waiting_id = commanded_id
        for meeting in range(MEETINGS):
            try:
                async with self._pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn, conn.transaction():
                    turn = await next_turn(conn, conversation_id, commanded_id)
                    if turn is None:
                        return Done()
                    waiting_id = turn.waiting.id
                    await deliver_queued(conn, self._tag_sets, turn)
            except CONFLICT as error:
                log.info("conversation_contended", meeting=meeting, error=type(error).__name__)
            except Exception as error:
                if is_unavailable(error):
                    raise
                log.exception("reply_failed")
                return await self._give_back(waiting_id, told(error))
            else:
                log.info("reply_delivered", delivered_id=waiting_id, conversation_id=conversation_id)
                return None
        return await self._give_back(waiting_id, f"other sends were in the way {MEETINGS} times")

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
        await asyncio.gather(*(self._publisher.command(DeliverReply(reply_id=reply_id)) for reply_id in due))
        if due:
            log.info("replies_swept", replies=len(due))
        return len(due)
