"""Figures of what waits, read from the database: a worker's, and a gateway's (service/runtime/metrics.py)."""

from datetime import timedelta

from service.runtime import metrics
from sql import backlog, outbox, stuck
from sql.connection import Connection


async def show_backlog(conn: Connection) -> None:
    """How much waits, and for how long."""
    for waiting in await backlog.count_backlog(conn):
        metrics.BACKLOG.labels(waiting.kind).set(waiting.size)
        metrics.BACKLOG_AGE.labels(waiting.kind).set(waiting.age)


async def show_outbox_lag(conn: Connection) -> None:
    """How far the events are behind."""
    metrics.OUTBOX_LAG.set(await outbox.outbox_lag(conn))


async def show_stuck(conn: Connection, *, retry_after: float) -> None:
    """What stands still, with so many seconds between two attempts."""
    found = await stuck.count_stuck(conn, retry_after=timedelta(seconds=retry_after))
    for kind, count in found._asdict().items():
        metrics.STUCK.labels(kind).set(count)


def forget_backlog() -> None:
    """What waits, and how far the events are behind, is not known."""
    for kind in backlog.KINDS:
        metrics.BACKLOG.labels(kind).set(metrics.UNKNOWN)
        metrics.BACKLOG_AGE.labels(kind).set(metrics.UNKNOWN)
    metrics.OUTBOX_LAG.set(metrics.UNKNOWN)


def forget_stuck() -> None:
    """What stands still is not known."""
    for kind in stuck.Stuck._fields:
        metrics.STUCK.labels(kind).set(metrics.UNKNOWN)
