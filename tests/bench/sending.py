"""A bulk send as a client sees it: the POST, the 202, and asking until everything is sent."""

import asyncio
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from sql.connection import Connection
from sql.verification import count_copies
from tests.bench.institution import Course
from tests.bench.resources import stored_bytes, wal_position
from tests.support.processes import Client

SHORTEST_WAIT, FIRST_WAIT, LONGEST_WAIT = (
    0.005,
    0.02,
    0.1,
)  # seconds between two questions; they cost the gateway time as well


@dataclass(frozen=True)
class Sent:
    """One bulk send; times in seconds from the start of the POST, sizes in bytes."""

    batch_id: int
    recipients: int
    accepted_after: float
    finished_after: float
    wal: int
    stored: int

    @property
    def rate(self) -> float:
        """Recipients a second."""
        return self.recipients / self.finished_after


@dataclass(frozen=True)
class Timed:
    """When a send was accepted and when it was finished, in seconds from the start of its POST."""

    batch_id: int
    accepted_after: float
    finished_after: float


async def send(conn: Connection, client: Client, course: Course, *, private: bool = False) -> Sent:
    """``post`` with what it has cost; AssertionError if it is not sent to all."""
    wal, stored = await wal_position(conn), await stored_bytes(conn)
    timed = await post(client, course, private=private)
    sent = Sent(
        timed.batch_id,
        len(course.students),
        timed.accepted_after,
        timed.finished_after,
        await wal_position(conn) - wal,
        await stored_bytes(conn) - stored,
    )
    await assert_exactly_once(conn, sent.batch_id, sent.recipients)
    return sent


async def post(client: Client, course: Course, *, private: bool = False) -> Timed:
    """One message to every student of the course, asynchronously, followed to its end."""
    start = perf_counter()
    batch_id = await accept(client, course, private=private)
    accepted = perf_counter() - start
    await finished(client, batch_id, start)
    return Timed(batch_id, accepted, perf_counter() - start)


async def accept(client: Client, course: Course, *, private: bool = False) -> int:
    """Sends it; the id of the batch, which has only been accepted.

    Each recipient gets a new thread; with ``private`` the one that the two have, if they have one, which to so many
    needs CLARION_MAX_BULK_PRIVATE_RECIPIENTS.
    """
    kind = {} if private else {"group_conversation": True, "bulk_message": True}
    message = {
        **kind,
        "recipients": [f"course_{course.id}_students"],
        "context_code": f"course_{course.id}",
        "subject": "Field trip",
        "body": "We meet at nine at the main gate. Please bring a packed lunch and something to write with.",
        "mode": "async",
    }
    status, body, headers = await _answered(client, "POST", "/conversations", json=message)
    assert (status, body) == (202, []), body
    return int(headers["X-Conversation-Batch-Id"])


async def _answered(client: Client, method: str, path: str, **parameters: Any) -> tuple[int, Any, Any]:
    """Asks again after a 503, of which nothing takes effect later: a machine may be busy with much else."""
    while True:
        answer = await client.call(method, path, **parameters)
        if answer[0] != 503:
            return answer
        await asyncio.sleep(LONGEST_WAIT)


async def finished(client: Client, batch_id: int, start: float | None = None) -> None:
    """Asks for the batch until its end, the more often the nearer that seems; it was sent at ``start``, or now."""
    start = perf_counter() if start is None else start
    while True:
        _, batch, _ = await _answered(client, "GET", f"/conversations/batches/{batch_id}")
        if batch["workflow_state"] not in ("created", "sending"):
            assert batch["workflow_state"] == "sent", batch
            return
        left = 1 - batch["delivered"] / batch["total"]
        expected = (perf_counter() - start) * left / (1 - left) if left < 1 else FIRST_WAIT * 2
        await asyncio.sleep(min(max(expected / 2, SHORTEST_WAIT), LONGEST_WAIT))


async def assert_exactly_once(conn: Connection, batch_id: int, recipients: int) -> None:
    """By the inboxes, and not by the batch's own counters."""
    copies = await count_copies(conn, batch_id)
    assert (copies.recipients, copies.duplicates, copies.missing) == (recipients, 0, 0), copies
