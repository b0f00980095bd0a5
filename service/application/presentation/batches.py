"""Batches as the API shows them (canvas/endpoints.md 3.3, CONTRACT 3.1)."""

from collections.abc import Sequence

from service.application.presentation.messages import present_messages
from service.application.presentation.shapes import Batch, BatchProgress
from service.domain.batch import completion, eta, rate
from sql import batches
from sql.connection import Connection
from sql.messages import MessageKey


async def present_batches(
    conn: Connection, found: Sequence[batches.Batch], *, viewer_id: int, base_url: str
) -> list[Batch]:
    """Batch objects as Canvas lists them."""
    keys = [MessageKey(batch.message_id, None, batch.send_id) for batch in found]
    messages = await present_messages(conn, keys, viewer_id=viewer_id, base_url=base_url)
    return [
        {
            "id": batch.id,
            "workflow_state": batch.progress.state,
            "completion": completion(batch.progress, batch.seen_at),
            "recipient_count": batch.progress.total,
            "message": message,
            "tags": list(batch.tags),
        }
        for batch, message in zip(found, messages, strict=True)
    ]


async def present_batch(conn: Connection, found: batches.Batch, *, viewer_id: int, base_url: str) -> BatchProgress:
    """One batch with its progress."""
    (shown,) = await present_batches(conn, [found], viewer_id=viewer_id, base_url=base_url)
    progress, now = found.progress, found.seen_at
    return {
        **shown,
        "total": progress.total,
        "delivered": progress.delivered,
        "failed": progress.failed,
        "skipped": progress.skipped,
        "created_at": progress.created_at,
        "started_at": progress.started_at,
        "finished_at": progress.finished_at,
        "send_at": progress.send_at,
        "error": found.error,
        "eta": eta(progress, now),
        "recipients_per_second": round(rate(progress, now), 1),
    }
