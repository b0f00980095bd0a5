"""A batch as its events have it, and what must hold of it at every moment."""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sql.connection import Connection

# From which states each move may be made (CONTRACT 3.1); retry only where some have failed.
ALLOWED = {
    "cancel": {"scheduled", "created", "sending", "paused"},
    "pause": {"created", "sending"},
    "resume": {"paused"},
    "retry": {"sent", "error", "cancelled"},
}
ENDS = {"sent", "error", "cancelled"}

_COUNTED = """
SELECT b.state, b.total, b.delivered, b.failed, b.skipped, b.finished_at IS NOT NULL AS ended,
       (SELECT count(*) FROM chunks c, unnest(c.recipients) WHERE c.batch_id = b.id AND c.state = 'delivered') AS has,
       (SELECT count(*) FROM chunks c, unnest(c.recipients) WHERE c.batch_id = b.id AND c.state = 'failed') AS has_not,
       (SELECT count(*) FROM chunks c, unnest(c.recipients) WHERE c.batch_id = b.id AND c.state = 'pending') AS waits,
       (SELECT count(*) FROM chunks c, unnest(c.recipients) WHERE c.batch_id = b.id AND c.state = 'skipped')
       + (SELECT count(*) FROM skipped_recipients s WHERE s.batch_id = b.id) AS left_out,
       (SELECT coalesce(sum(c.skipped), 0) FROM chunks c WHERE c.batch_id = b.id AND c.state = 'pending') AS to_count
FROM batches b WHERE b.id = $1
"""


def steps(chance: random.Random) -> list[str]:
    """Moves at random; those after which a batch goes on are more frequent, so that it has a story."""
    moves = ["pause", "resume"] * 3 + ["retry"] * 2 + ["cancel"] * chance.randint(0, 1)
    return chance.choices(moves, k=chance.randint(1, 10))


class BatchEvent(NamedTuple):
    """One event of a batch; ``moves``: how often it had been moved by then."""

    name: str
    message_id: str
    body: Mapping[str, str]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Delivered, failed, skipped."""
        return int(self.body["delivered"]), int(self.body["failed"]), int(self.body["skipped"])

    @property
    def complete(self) -> bool:
        """Whether all are settled."""
        return sum(self.counts) == int(self.body["total"])


async def assert_counted(conn: Connection, batch_id: int) -> str:
    """One look finds the counters equal to the recipients by state, and the end where all are settled; the state."""
    row = await conn.fetchrow(_COUNTED, batch_id)
    assert row is not None
    found = dict(row)
    assert (row["delivered"], row["failed"], row["skipped"]) == (row["has"], row["has_not"], row["left_out"]), found
    assert row["delivered"] + row["failed"] + row["skipped"] + row["waits"] == row["total"], found
    assert row["to_count"] == 0, found
    assert row["ended"] == (row["waits"] == 0), found
    if row["ended"]:
        assert row["state"] in ENDS, found
        assert row["state"] == "cancelled" or (row["state"] == "error") == (row["failed"] > 0), found
    state: str = row["state"]
    return state


def assert_story(events: Sequence[BatchEvent], made: Counter[str]) -> None:
    """Events of one batch at its end, in the order of the commits, each once, say what was done and what became of it.

    ``made``: the moves that were answered with 200.
    """
    assert max(Counter(event.message_id for event in events).values(), default=1) == 1
    names = Counter(event.name for event in events)
    assert names["batch_paused"] == made["pause"], names
    assert names["batch_resumed"] == made["resume"] + made["retry"], (names, made)
    assert names["batch_finished"] + names["batch_failed"] == 1 + made["retry"], (names, made)
    assert names["batch_started"] <= 1, names
    state, settled, before = "created", 0, ""
    for event in events:
        now = event.body["state"]
        match event.name:
            case "batch_paused":
                assert (state in ALLOWED["pause"], now) == (True, "paused"), event
            case "batch_resumed":
                assert (state == "paused" or state in ENDS, now) == (True, "sending"), event
                settled = 0 if state in ENDS else settled
            case "batch_finished":
                assert event.complete, event
                assert now in ("sent", "cancelled"), event
            case "batch_failed":
                assert (event.complete, now) == (True, "error"), event
            case "batch_progress":
                assert not event.complete, event
                assert now in ("sending", "paused", "cancelled"), event
                assert sum(event.counts) > settled or before == "batch_started", event
        assert state not in ENDS - {"cancelled"} or event.name == "batch_resumed", event
        assert sum(event.counts) >= settled, event
        state, settled, before = now, sum(event.counts), event.name
    assert state in ENDS
    assert events[-1].name in ("batch_finished", "batch_failed")
