"""Every named statement is one the database accepts, explains itself and is used."""

from pathlib import Path

import asyncpg
import pytest

import sql
from sql.statements import STATEMENTS, Statement

ALL = sorted(STATEMENTS.values(), key=lambda statement: statement.name)
PACKAGE = Path(sql.__file__).parent


async def test_every_statement_can_be_prepared(conn: asyncpg.Connection) -> None:
    """On the migrated schema; a wrong one would otherwise fail in somebody's request."""
    for statement in ALL:
        try:
            await conn.prepare(statement.text)
        except asyncpg.PostgresError as error:
            pytest.fail(f"{statement.source}: {statement.name}: {error}")


@pytest.mark.parametrize("statement", ALL, ids=lambda statement: statement.name)
def test_every_statement_says_why_it_exists(statement: Statement) -> None:
    """The line below the name."""
    assert statement.text.startswith("-- ")


def test_every_statement_has_exactly_one_typed_caller() -> None:
    """``text_of("name")`` stands in one module of the package."""
    modules = "".join(path.read_text("utf-8") for path in PACKAGE.glob("*.py"))
    counted = {statement.name: modules.count(f'text_of("{statement.name}")') for statement in ALL}
    assert {name: n for name, n in counted.items() if n != 1} == {}
