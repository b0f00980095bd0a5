"""sql/schema.sql shows what migrating makes."""

import difflib

import asyncpg
import pytest

from deploy.schema_text import FILE, OPTIONAL, schema_text


async def test_the_whole_schema_can_be_read_in_one_place(conn: asyncpg.Connection) -> None:
    """What the file shows is what the migrated database has."""
    shown, made = FILE.read_text("utf-8"), await schema_text(conn)
    if not await conn.fetchval("SELECT EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_trgm')"):
        shown = "\n".join(line for line in shown.split("\n") if not line.endswith(OPTIONAL))

    difference = difflib.unified_diff(shown.splitlines(), made.splitlines(), "sql/schema.sql", "migrated", lineterm="")
    if lines := list(difference):
        pytest.fail("\n".join(["./deploy/schema writes it anew:", *lines]), pytrace=False)
