"""One queue, consumed on a connection of its own for as long as the process runs."""

from collections.abc import Awaitable, Callable

import structlog
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from service.contracts.topology import Topology
from service.runtime.broker import Broker, BrokerUnavailable, Session, broker_errors
from service.runtime.settings import Settings

log = structlog.get_logger(__name__)

CANCEL_TIMEOUT = 5.0  # seconds
CONSUME_TIMEOUT = 5.0  # seconds until a queue that works has answered
UNUSABLE_AFTER = 2  # sessions in a row in which the queue did not answer

Receive = Callable[[AbstractIncomingMessage], Awaitable[object]]


class Subscription:
    """Hands each message to what ``begin`` returned for the session that brought it.

    Declares the queue anew where it is gone. ``replaceable``: the sweepers command again what is in the
    queue, so one that has become unusable may be deleted.
    """

    def __init__(
        self,
        settings: Settings,
        name: str,
        queue: str,
        begin: Callable[[Session], Receive],
        *,
        prefetch: int,
        replaceable: bool,
    ) -> None:
        self.queue = queue
        self._topology = Topology(settings.amqp_prefix)
        self._begin = begin
        self._prefetch = prefetch
        self._replaceable = replaceable
        self._consumed: AbstractQueue | None = None
        self._tag: str | None = None
        self._unanswered = 0
        self.broker = Broker(settings, f"clarion-{name}", self._open)

    async def _open(self, session: Session) -> None:
        await session.find_queue(self._topology, self.queue)
        channel = await session.channel(prefetch=self._prefetch)
        self._consumed = await channel.get_queue(self.queue, ensure=False)
        try:
            self._tag = await self._consumed.consume(self._begin(session), timeout=CONSUME_TIMEOUT)
        except TimeoutError:
            self._unanswered += 1
            if self._unanswered >= UNUSABLE_AFTER:
                await self._report_unusable(session)
            raise
        self._unanswered = 0

    async def _report_unusable(self, session: Session) -> None:
        """Deletes a replaceable queue, for the next session to declare it anew.

        A broker killed within a second of the declaration comes back with a queue that can be declared and has no
        leader, for good. It looks the same while most of a cluster is away, and then holds messages that
        come back with it: where they are all there is, only an operator may judge.
        """
        if not self._replaceable:
            advice = "restore the cluster; if none is away, the queue is lost: delete it, it is then declared anew"
            log.error("queue_unusable", queue=self.queue, sessions=self._unanswered, advice=advice)
            return
        log.error("queue_unusable", queue=self.queue, sessions=self._unanswered)
        self._unanswered = 0
        channel = await session.channel()
        await channel.queue_delete(self.queue)

    async def cancel(self) -> None:
        """Takes no further message; those that came and are not settled stay with this process."""
        if self._consumed is None or self._tag is None or not self.broker.connected:
            return
        try:
            with broker_errors():
                await self._consumed.cancel(self._tag, timeout=CANCEL_TIMEOUT)
        except BrokerUnavailable as error:
            log.warning("cancel_failed", queue=self.queue, error=str(error))
