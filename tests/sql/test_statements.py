"""Every named statement is one the database accepts, explains itself, and is called as it is written."""

import ast
import dataclasses
import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from importlib import import_module
from pathlib import Path

import asyncpg
import pytest

import sql
from service.domain.participant import Event
from service.runtime.settings import Settings
from sql.batch_updates import insert_progress
from sql.sessions import learn_types
from sql.statements import STATEMENTS, Column, Command, Many, One, Single, Value
from sql.tags import TagSetRow

ALL = sorted(STATEMENTS.values(), key=lambda statement: statement.name)
PACKAGE = Path(sql.__file__).parent
Call = Single[object] | One[object] | Many[object] | Column[object] | Value[object] | Command


def calls() -> Iterator[tuple[str, str, Call]]:
    """(module, name there, statement that can be run) of the whole package."""
    for path in sorted(PACKAGE.glob("*.py")):
        module = import_module(f"sql.{path.stem}")
        for name, found in vars(module).items():
            if isinstance(found, Single | One | Many | Column | Value | Command):
                yield path.stem, name, found


async def test_every_statement_can_be_prepared(conn: asyncpg.Connection) -> None:
    """On the migrated schema; a wrong one would otherwise fail in a request."""
    for statement in ALL:
        try:
            await conn.prepare(statement.text)
        except asyncpg.PostgresError as error:
            pytest.fail(f"{statement.source}: {statement.name}: {error}")


async def test_the_types_of_all_statements_are_asked_for_at_once(settings: Settings) -> None:
    """Else the first request of each connection that needs another one waits for the catalogues."""
    conn = await asyncpg.connect(str(settings.database_url))
    await learn_types(conn)
    asked: list[str] = []
    with conn.query_logger(lambda record: asked.append(record.query)):
        for statement in ALL:
            await conn.prepare(statement.text)
    await conn.close()
    assert [query for query in asked if "typeinfo" in query] == []


async def test_every_row_has_the_columns_of_its_statement(conn: asyncpg.Connection) -> None:
    """In their order, because rows are made by position."""
    for module, _, call in calls():
        if isinstance(call, Single | One | Many):
            prepared = await conn.prepare(call.statement.text)
            columns = [column.name for column in prepared.get_attributes()]
            assert fields_of(call.row) == columns, f"sql/{module}.py: {call.statement.name}"


def fields_of(row: type) -> list[str]:
    """Names of a NamedTuple or of a dataclass."""
    named: tuple[str, ...] | None = getattr(row, "_fields", None)
    return list(named) if named is not None else [field.name for field in dataclasses.fields(row)]


async def test_a_column_and_a_value_are_one_column(conn: asyncpg.Connection) -> None:
    for module, _, call in calls():
        if isinstance(call, Column | Value):
            prepared = await conn.prepare(call.statement.text)
            assert len(prepared.get_attributes()) == 1, f"sql/{module}.py: {call.statement.name}"


def test_every_statement_says_why_it_exists() -> None:
    """In the line below its name."""
    assert [statement.name for statement in ALL if not statement.text.startswith("-- ")] == []


def test_every_statement_has_exactly_one_caller() -> None:
    counted = Counter(call.statement.name for _, _, call in calls())
    assert {statement.name: counted[statement.name] for statement in ALL if counted[statement.name] != 1} == {}


def test_every_call_gives_the_parameters_of_its_statement() -> None:
    """A name too many or too few would raise only when the call is made."""
    known = {(module, name): call for module, name, call in calls()}
    for path in sorted(PACKAGE.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and (path.stem, node.func.id) in known:
                given = {keyword.arg for keyword in node.keywords}
                wanted = set(known[path.stem, node.func.id].statement.parameters)
                assert None in given or given == wanted, f"{path.name}:{node.lineno}: {node.func.id}"


def test_no_parameter_is_a_number() -> None:
    files = sorted((PACKAGE / "queries").glob("*.sql"))
    assert [file.name for file in files if re.search(r"\$\d", file.read_text("utf-8"))] == []


@pytest.mark.parametrize("given", [{}, {"set_ids": [0], "limit": 1}, {"ids": [0]}])
async def test_a_call_takes_the_parameters_of_its_statement_and_no_other(
    conn: asyncpg.Connection, given: dict[str, object]
) -> None:
    call = Many("tag_sets_by_id", TagSetRow)
    assert await call(conn, set_ids=[0]) == [TagSetRow(0, [], settled=True)]
    with pytest.raises(TypeError, match="tag_sets_by_id takes"):
        await call(conn, **given)


def test_a_statement_is_run_as_it_is_marked() -> None:
    """Said when the module is imported."""
    with pytest.raises(ValueError, match="marked :many and called as :one"):
        One("tag_sets_by_id", TagSetRow)
    with pytest.raises(KeyError):
        Command("no_such_statement")


async def test_a_statement_that_always_has_a_row_says_so_when_it_has_none(conn: asyncpg.Connection) -> None:
    """As where a trigger of the installation's own swallows what is inserted."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        await conn.execute("""
            CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
            CREATE TRIGGER swallow BEFORE INSERT ON batch_updates FOR EACH ROW EXECUTE FUNCTION swallow();
        """)
        with pytest.raises(LookupError, match="insert_progress"):
            await insert_progress(
                conn, user_id=1, event=Event.STAR, conversation_ids=["2"], patience=timedelta(seconds=1)
            )
    finally:
        await transaction.rollback()
