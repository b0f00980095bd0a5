"""A table that grows with messages could be spread over many servers, as Citus does it.

Each of its unique keys then has to hold the column by which its rows are spread: a server sees to what is unique among
its own rows, and to nothing else. That is what this holds; that every statement would run there has not been tried
(deploy/README.md, More than one machine).
"""

import re
from pathlib import Path

import asyncpg

README = Path(__file__).parents[2] / "sql" / "README.md"

# By what a table would be spread; messages and their like lie with their conversation, a user's inbox on one server.
SPREAD = {
    "conversations": "id",
    "messages": "conversation_id",
    "message_views": "conversation_id",
    "taken_conversations": "conversation_id",
    "participants": "user_id",
    "idempotency_keys": "user_id",
    "journal_entries": "user_id",
    "sends": "id",
    "batches": "id",
    "chunks": "batch_id",
    "skipped_recipients": "batch_id",
    "scheduled_sends": "batch_id",
    "audits": "batch_id",
    "counted_sends": "sender_id",
    "pending_replies": "id",
    "batch_updates": "id",
    "outbox": "lane",
    "throttle_buckets": "token_hash",
}
# What every server would have as a whole, and why.
WHOLE = {
    "few rows, of the installation": {
        "schema_migrations",
        "schema_definitions",
        "paces",
        "unroutable_events",
        "punctuality",
    },
    "unique by its number, and by what the number stands for": {"tag_sets", "access_tokens"},
    "of the directory, which most statements join, and which grows with people and not with messages": {
        *("accounts", "users", "user_accounts", "account_users", "role_overrides", "courses", "sections"),
        *("enrollments", "group_categories", "groups", "group_memberships", "attachments", "unknown_members"),
        *("rosters", "headcounts", "media_objects"),
        *("sis_ids", "sis_terms", "sis_course_dates", "sis_observers", "sis_guardians", "sis_observations"),
        "snapshot_rows",
    },
}

_UNIQUE_KEYS = """
SELECT t.relname AS table, i.indexrelid::regclass::text AS key,
       array(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = t.oid AND a.attnum = ANY (i.indkey)) AS columns
FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid
WHERE t.relnamespace = 'public'::regnamespace AND t.relkind = 'r' AND i.indisunique
"""
_TABLES = "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"


async def test_each_unique_key_holds_the_column_by_which_its_table_would_be_spread(conn: asyncpg.Connection) -> None:
    keys = await conn.fetch(_UNIQUE_KEYS)

    assert len(keys) > len(SPREAD)
    assert [row["key"] for row in keys if row["table"] in SPREAD and SPREAD[row["table"]] not in row["columns"]] == []


async def test_of_each_table_it_is_known(conn: asyncpg.Connection) -> None:
    """A new one is spread, or has a reason not to be."""
    tables = {row["relname"] for row in await conn.fetch(_TABLES)}

    assert tables == set(SPREAD) | set().union(*WHOLE.values())
    assert set(SPREAD).isdisjoint(set().union(*WHOLE.values()))


def test_whatever_is_hot_would_be_spread() -> None:
    hot = re.search(r"- What is hot \(([^)]*)\)", README.read_text("utf-8"))

    assert hot is not None
    assert set(re.findall(r"`(\w+)`", hot[1])) <= set(SPREAD)
