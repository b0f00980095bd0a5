"""Statements on the tables that grow keep to their indexes, whatever PostgreSQL believes of those tables.

A connection plans a statement when it meets it and keeps that plan: on a young installation it stems from a time when
there was next to nothing, and a big send makes the tables a thousand times larger in a second.
"""

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from service.runtime.postgres import create_pool
from service.runtime.settings import Settings
from sql.connection import Connection
from sql.statements import STATEMENTS, Statement
from tests.support.databases import fresh_database

HOT = {"conversations", "participants", "messages", "message_views", "sends", "outbox", "chunks"}
ROWS = 200_000
USERS = 2_000  # so many received the conversations, in turn: a hundred each
# In buffers of 8 KiB: for ten conversations that are read, and for a hundred rows that are written or locked.
MOST_READ, MOST_WRITTEN = 600, 2_000
NEVER_PLANNED = {"lock_merging", "keep_merges_out", "begin_snapshot", "forbid_writing", "analyze_snapshot_rows"}
READ_EVERYTHING = {
    "count_copies",  # the proof after a bulk send, asked by hand
    "revive_chunks",  # an operator has sent dead letters back
    "redirect_waiting_recipients",  # a merge, which is rare, looks through all that waits in bulk sends
    "lock_waiting_for_deleted",  # and so does the deletion of users
}

# Conversation n, its first message and its send have the id n; its second message has the id SECOND + n.
SECOND = 1_000_000
AUTHORS = 10_000  # the author of a conversation has its reader's id and so much more
FILL = f"""
INSERT INTO sends (id, author_id, created_at, body, private, root_account_ids) OVERRIDING SYSTEM VALUE
SELECT n, {AUTHORS} + n % {USERS}, now(), repeat('word ', 20), true, '{{1}}' FROM generate_series(1, {ROWS}) n;
INSERT INTO conversations (id, send_id, tag_set, first_tag_set, has_attachments, has_media_objects)
SELECT n, n, 0, 0, false, false FROM generate_series(1, {ROWS}) n;
INSERT INTO participants (conversation_id, user_id, last_message_at, last_authored_at, visible_last_authored_at,
    private_peer_id, private_context, tag_set, message_count, unread, starred, has_attachments, has_media_objects)
SELECT n, side.user_id, side.received_at, side.authored_at, side.authored_at, side.peer_id, side.context, 0, 1, true,
       n % 7 = 0, false, false
FROM generate_series(1, {ROWS}) n
CROSS JOIN LATERAL (
    VALUES (n % {USERS}, now(), NULL::timestamptz, {AUTHORS} + n % {USERS}, n),
           ({AUTHORS} + n % {USERS}, NULL, now(), NULL, NULL)
) side(user_id, received_at, authored_at, peer_id, context);
INSERT INTO messages (conversation_id, id, send_id, tag_set, restricted)
SELECT n, {SECOND} + n, n, 0, n % 2 = 0 FROM generate_series(1, {ROWS}) n;
INSERT INTO message_views (conversation_id, message_id, user_id, deleted_at)
SELECT n, {SECOND} + n, n % {USERS}, CASE WHEN n % 8 = 0 THEN now() END FROM generate_series(1, {ROWS}) n;
INSERT INTO batches (id, send_id, sender_id, message_id, tags, user_note, state, total, created_at)
OVERRIDING SYSTEM VALUE
SELECT n, n, {AUTHORS}, n, '{{}}', false, 'sending', 100, now() FROM generate_series(1, {ROWS // 100}) n;
INSERT INTO chunks (batch_id, position, first_id, recipients, due_at, updated_at)
SELECT 1 + (n - 1) / 100, (n - 1) % 100, 10000000 + n * 2000, ARRAY[n % {USERS}], now() + n * interval '1 s', now()
FROM generate_series(1, {ROWS}) n;
SELECT setval(pg_get_serial_sequence(name, 'id'), {ROWS}) FROM unnest('{{sends,batches}}'::text[]) AS name;
INSERT INTO outbox (lane, event, author_id, created_at, conversation_ids, message_ids, cause)
SELECT n % 16, 'delivered', {AUTHORS}, now(), ARRAY[n], ARRAY[n], '{{}}' FROM generate_series(1, {ROWS}) n;
"""

READER = 8
THEIRS = [READER + USERS * n for n in range(1, 11)]
NEW = 90_000_000
# What a statement is asked about, by the parameter's name; the others follow from their type.
GIVEN: dict[str, object] = {
    "user_id": READER,
    "viewer_id": READER,
    "adder_id": READER,
    "sender_id": READER,
    "author_id": AUTHORS + READER,
    "conversation_id": THEIRS[0],
    "conversation_ids": THEIRS,
    "message_id": NEW,
    "message_ids": THEIRS,
    "send_id": THEIRS[0],
    "send_ids": THEIRS,
    "user_ids": [READER] * 10,
    "target_ids": [5_000] * 10,
    "home_ids": [READER + USERS * n for n in range(21, 31)],
    "old_ids": THEIRS,
    "private_ids": THEIRS,
    "peer_ids": [NEW] * 10,
    "contexts": [NEW + n for n in range(10)],
    "newcomers": [NEW + n for n in range(10)],
    "receivers": [READER, AUTHORS + READER],
    "participants": [READER, AUTHORS + READER],
    "recipients": [READER, READER + 1],
    "first_id": NEW,
    "batch_id": 3,
    "position": 7,
    "scope": "inbox",
    "limit": 11,
    "offset": 0,
    "needed": 1,
    "filter_user_ids": [AUTHORS + READER],
    "filter_codes": ["course_1"],
    "cause": {},
    "event": "delivered",
    "max_rows": 100,
    "max_copies": 100,
    "context_key": 2008,
    "retry_after": "1 hour",  # nothing that was just filled in is stuck
    "chunk_size": 2,
}
# Where that does not fit: those who join or open a conversation are not in it yet.
GIVEN_TO: dict[str, dict[str, object]] = {
    "join_by_message": {"user_ids": [NEW + n for n in range(10)]},
    "open_group": {"conversation_id": NEW, "own_tag_sets": [1, 1]},
    "lock_conversations_of_merged": {"user_ids": [READER], "target_ids": [5_000]},
    "remembered_sis_ids": {"kinds": ["user"] * 10},
    "remember_sis_ids": {"kinds": ["user"] * 10, "sis_ids": [f"S{n}" for n in range(10)], "ids": [NEW] * 10},
    "upsert_enrollments": {
        "ids": [NEW + n for n in range(10)],
        "present_keys": [1] * 10,
        "course_ids": [1] * 10,
        "course_section_ids": [1] * 10,
        "associated_user_ids": [1] * 10,
    },
}
BY_TYPE: dict[str, object] = {
    "bigint": 1,
    "integer": 1,
    "smallint": 1,
    "boolean": True,
    "text": "text",
    "double precision": 1.0,
    "interval": "1 second",
    "timestamp with time zone": "2030-01-01T00:00:00Z",
    "jsonb": {},
    "bytea": "00",
}


def literal(value: object) -> str:
    """A value as SQL text, to be cast to the parameter's type."""
    if isinstance(value, list):
        return "'{" + ",".join(str(item).lower() for item in value) + "}'"
    return f"'{json.dumps(value)}'" if isinstance(value, dict) else f"'{value}'"


def arguments(statement: Statement, types: list[str]) -> str:
    """What EXECUTE is given; ``types`` as PostgreSQL names them."""
    values = []
    for name, type_ in zip(statement.parameters, types, strict=True):
        plain = type_.removesuffix("[]")
        given = GIVEN | GIVEN_TO.get(statement.name, {})
        value = given.get(name, [BY_TYPE[plain]] * 10 if type_.endswith("[]") else BY_TYPE[plain])
        if type_ == "text" and isinstance(value, list):  # arrays that are sent as text
            value = "{" + ",".join(map(str, value)) + "}"
        values.append(f"{literal(value)}::{type_}")
    return f"({', '.join(values)})" if values else ""


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """All nodes of a plan."""
    return [plan, *(node for child in plan.get("Plans", []) for node in nodes(child))]


def scans(plan: dict[str, Any]) -> set[str]:
    """The hot tables that it reads from end to end."""
    return {node["Relation Name"] for node in nodes(plan) if node["Node Type"] == "Seq Scan"} & HOT


class Session:
    """A connection that has prepared and planned every statement on a hot table."""

    def __init__(self, conn: Connection, url: str) -> None:
        self.conn = conn
        self.url = url
        self.calls: dict[str, str] = {}

    async def plan(self, mode: str) -> None:
        """``mode`` as plan_cache_mode takes it. Statements that never touch a hot table are left out."""
        await self.conn.execute(f"DEALLOCATE ALL; SET plan_cache_mode = {mode}; SET jit = off")
        await self.planned()

    async def planned(self) -> dict[str, dict[str, Any]]:
        """The plan of each statement, by name."""
        planned = [statement for statement in STATEMENTS.values() if statement.name not in NEVER_PLANNED]
        for statement in planned:
            await self.conn.execute(f"PREPARE {statement.name} AS {statement.text}")
        rows = await self.conn.fetch("SELECT name, parameter_types::text[] AS types FROM pg_prepared_statements")
        types = {row["name"]: row["types"] for row in rows}
        plans = {}
        for statement in planned:
            call = f"EXECUTE {statement.name}{arguments(statement, types[statement.name])}"
            plans[statement.name] = plan = await self._explain(call)
            if HOT & {node.get("Relation Name") for node in nodes(plan)}:
                self.calls[statement.name] = call
        return plans

    async def complaints(self) -> list[str]:
        """What reads a hot table from end to end, or too much; every statement is run, and rolled back."""
        names = sorted(self.calls.keys() - READ_EVERYTHING)
        # What other databases do may empty this connection's caches of the catalogues, and reading these again counts.
        # At the second time it is the statement itself.
        again = [name for name in names if await self._complaint(name)]
        return [complaint for name in again if (complaint := await self._complaint(name))]

    async def _complaint(self, name: str) -> str | None:
        transaction = self.conn.transaction()
        await transaction.start()
        plan = await self._explain(self.calls[name], "ANALYZE, BUFFERS, ")
        await transaction.rollback()
        scanned = scans(plan)
        # Parts that write and are not read end after the plan, which then does not count them in.
        read = max(node["Shared Hit Blocks"] + node["Shared Read Blocks"] for node in nodes(plan))
        writes = {node["Node Type"] for node in nodes(plan)} & {"ModifyTable", "LockRows"}
        if scanned or read > (MOST_WRITTEN if writes else MOST_READ):
            return f"{name} reads {read} buffers, and all of {sorted(scanned)}"
        return None

    async def _explain(self, call: str, options: str = "") -> dict[str, Any]:
        (found,) = json.loads(await self.conn.fetchval(f"EXPLAIN ({options}FORMAT json) {call}"))
        plan: dict[str, Any] = found["Plan"]
        return plan


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    """On a database that was just made, where nothing but the test gathers statistics."""
    async with fresh_database() as url:
        conn = await asyncpg.connect(url, statement_cache_size=0)
        for table in HOT:
            await conn.execute(f"ALTER TABLE {table} SET (autovacuum_enabled = off)")
        yield Session(conn, url)
        await conn.close()


async def test_plans_that_were_made_on_empty_tables_hold_when_the_tables_are_full(session: Session) -> None:
    await session.plan("force_generic_plan")
    await session.conn.execute(FILL)

    assert await session.complaints() == []


async def test_plans_that_are_made_with_the_statistics_of_empty_tables_hold_when_these_are_full(
    session: Session,
) -> None:
    await session.conn.execute("ANALYZE")
    await session.conn.execute(FILL)
    for mode in ("force_generic_plan", "force_custom_plan"):
        await session.plan(mode)

        assert await session.complaints() == [], mode


async def test_what_a_process_plans_on_tables_vacuumed_while_empty_keeps_to_the_indexes(session: Session) -> None:
    """PostgreSQL knows then that a table has no page, and takes reading all of it for free."""
    await session.conn.execute("VACUUM (ANALYZE)")
    pool = await create_pool(Settings(database_url=session.url))
    async with pool.acquire() as conn:
        found = await Session(conn, session.url).planned()
    await pool.close()

    assert {
        name: scanned for name, plan in found.items() if (scanned := scans(plan)) and name not in READ_EVERYTHING
    } == {}


async def test_a_hot_table_is_not_analysed_while_it_is_small(conn: asyncpg.Connection) -> None:
    """As long as it is not, PostgreSQL takes it for ten pages at least, and a look into an index for cheaper."""
    rows = await conn.fetch("SELECT relname, reloptions FROM pg_class WHERE relname = ANY ($1)", list(HOT))
    thresholds = {"analyze_threshold", "vacuum_threshold", "vacuum_insert_threshold"}
    expected = {f"autovacuum_{name}=5000" for name in thresholds}
    assert {row["relname"] for row in rows if expected <= set(row["reloptions"] or ())} == HOT
