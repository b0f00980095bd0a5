"""Whatever becomes of a batch's chunks, each recipient is listed once, in the state that is counted (CONTRACT 3.1)."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import asyncpg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.application.dead_letters import revive
from service.application.directory.events import apply
from service.application.messages.chunk import deliver_at_once
from service.application.messages.tag_sets import TagSets
from service.application.presentation.batch_recipients import csv_header, csv_lines
from service.contracts.commands import DeliverChunk
from service.contracts.directory import BODIES, DirectoryEvent
from service.domain.batch_recipients import RecipientState
from sql import chunks
from sql.batch_recipients import RecipientRow, list_recipients
from sql.connection import Connection
from tests.support.batches import Batches
from tests.support.chance import as_often
from tests.support.user_merges import NOW, merged

FIRST, LAST = 101, 108
OUTSIDERS = 2  # who are no recipients, and may become targets of merges
USER = st.integers(FIRST, LAST + OUTSIDERS)
CHUNK = st.integers(0, 30)
STEP = st.one_of(
    st.tuples(st.just("deliver"), CHUNK),
    st.tuples(st.just("fail"), CHUNK),
    st.tuples(st.just("split"), CHUNK),
    st.tuples(st.just("cancel"), CHUNK),
    st.tuples(st.just("requeue"), CHUNK),
    st.tuples(st.just("merge"), USER, USER),
    st.tuples(st.just("merge"), USER, USER),
    st.tuples(st.just("delete"), st.lists(USER, min_size=1, max_size=3)),
    st.tuples(st.just("restore"), USER),
)


class Sending:
    """A batch to FIRST..LAST, to which things happen."""

    def __init__(self, conn: asyncpg.Connection, batch: int) -> None:
        self.conn = conn
        self.batch = batch
        self._moment = 0

    async def take(self, step: Sequence[Any]) -> None:
        kind, first, *more = step
        await getattr(self, f"_{kind}")(first, *more)

    async def _chunk(self, number: int, state: str) -> int | None:
        """One of the chunks in that state."""
        found = await self.conn.fetch(
            "SELECT position FROM chunks WHERE batch_id = $1 AND state = $2 ORDER BY position", self.batch, state
        )
        return None if not found else found[number % len(found)]["position"]

    async def _deliver(self, number: int) -> None:
        if (position := await self._chunk(number, "pending")) is not None:
            await deliver_at_once(self.conn, TagSets(), self.batch, position, cause=None)

    async def _fail(self, number: int) -> None:
        if (position := await self._chunk(number, "pending")) is not None:
            await chunks.fail_chunk(self.conn, self.batch, position, error="no", cause=None)

    async def _split(self, number: int) -> None:
        position = await self._chunk(number, "pending")
        if position is not None and await chunks.begin_split(
            self.conn, self.batch, position, free=100, for_each=50, most=100
        ):
            await chunks.split_chunk(self.conn, self.batch, position, error="no", redeliveries=0, patience=timedelta())

    async def _cancel(self, number: int) -> None:
        """As a cancel settles a chunk."""
        if (position := await self._chunk(number, "pending")) is not None:
            await self.conn.execute(
                "WITH c AS (UPDATE chunks SET state = 'skipped', error = 'cancelled'"
                " WHERE batch_id = $1 AND position = $2 RETURNING size + skipped AS settled)"
                " UPDATE batches SET skipped = batches.skipped + c.settled FROM c WHERE id = $1",
                self.batch,
                position,
            )

    async def _requeue(self, number: int) -> None:
        if (position := await self._chunk(number, "failed")) is not None:
            body = DeliverChunk(batch_id=self.batch, position=position).model_dump_json().encode()
            await revive(self.conn, [body], due_after=timedelta())

    async def _merge(self, old: int, target: int) -> None:
        self._moment += 1
        if old != target:
            await apply(self.conn, [merged(old, target, self._moment)])

    async def _delete(self, users: Sequence[int]) -> None:
        await self._change(users, {"workflow_state": "deleted"})

    async def _restore(self, user: int) -> None:
        await self._change([user], {"workflow_state": "registered", "merged_into_user_id": None})

    async def _change(self, users: Sequence[int], keys: dict[str, Any]) -> None:
        self._moment += 1
        moment, body = NOW + timedelta(seconds=self._moment), BODIES["user_updated"]
        await apply(
            self.conn,
            [DirectoryEvent("user_updated", moment, body.model_validate({"user_id": user, **keys})) for user in users],
        )


async def pages(conn: Connection, batch: int, states: Sequence[RecipientState], size: int) -> list[list[RecipientRow]]:
    """As a client follows the links."""
    made: list[list[RecipientRow]] = []
    after = 0
    while True:
        found = await list_recipients(conn, batch, states, after=after, limit=size + 1)
        made.append(found[:size])
        if len(found) <= size:
            return made
        after = found[size - 1].user_id


async def check(conn: asyncpg.Connection, batch: int, size: int) -> None:
    counted = await conn.fetchrow(
        "SELECT total, delivered, failed, batch_skipped(b) AS skipped FROM batches b WHERE id = $1", batch
    )
    assert counted is not None
    everybody = list(RecipientState)
    whole = await list_recipients(conn, batch, everybody, after=0, limit=1000)
    users = [row.user_id for row in whole]
    assert users == sorted(set(users))
    assert len(users) == counted["total"]
    for state in (RecipientState.DELIVERED, RecipientState.FAILED, RecipientState.SKIPPED):
        assert [row.state for row in whole].count(state) == counted[state]
    for states in (everybody, *([state] for state in everybody)):
        asked = [row for row in whole if row.state in states]
        split = await pages(conn, batch, states, size)
        assert [row for page in split for row in page] == asked
        assert all(len(page) == size for page in split[:-1])
        assert b"".join([csv_header(), *map(csv_lines, split)]) == csv_header() + csv_lines(asked)
    delivered = {row.message_id for row in whole if row.state == RecipientState.DELIVERED}
    assert len(delivered) == counted["delivered"]


@given(
    steps=st.lists(STEP, min_size=5, max_size=30),
    chunk_size=st.sampled_from([1, 2, 3, 8]),
    size=st.integers(1, 4),
)
@settings(max_examples=as_often(40), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_counters_pages_and_csv_agree_whatever_happens(
    conn: asyncpg.Connection, steps: list[Sequence[Any]], chunk_size: int, size: int
) -> None:
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.executemany(
            "INSERT INTO users (id, name, workflow_state, as_of) VALUES ($1, 'User', 'registered', 'epoch')",
            [(id_,) for id_ in (1, *range(FIRST, LAST + OUTSIDERS + 1))],
        )
        sending = Sending(conn, await Batches(conn).accept(range(FIRST, LAST + 1), chunk_size=chunk_size))
        for step in steps:
            await sending.take(step)
            await check(conn, sending.batch, size)
    finally:
        await transaction.rollback()
