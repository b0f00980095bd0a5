"""``deploy/run`` sends, and does not say that all is well unless it is (CONTRACT 1)."""

import re
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest
from rich.console import Console

from deploy.demo import Facts, demonstrate, invitation, send_and_check
from deploy.failure import CannotRun
from deploy.postgres import PrivatePostgres
from deploy.servers import Servers
from deploy.stack import Stack
from service.runtime.settings import Settings
from tests.support.broker import broker_client
from tests.support.commands import clarion
from tests.support.school import School

# What befalls one student, or the batch, in the transaction that finishes the batch.
_AT_THE_END = """
CREATE FUNCTION doctor() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {statement};
    RETURN NEW;
END $$;
CREATE TRIGGER doctor BEFORE UPDATE ON batches FOR EACH ROW
WHEN (NEW.state = 'sent' AND OLD.state <> 'sent') EXECUTE FUNCTION doctor();
"""
_TAKEN_AWAY = "DELETE FROM participants WHERE user_id = {student}"
_TWICE = """
WITH copy AS (
    INSERT INTO conversations
    SELECT (jsonb_populate_record(c, jsonb_build_object('id', nextval('id_blocks') + 1))).*
    FROM conversations c JOIN participants p ON p.conversation_id = c.id
    WHERE p.user_id = {student}
    RETURNING id
)
INSERT INTO participants
SELECT (jsonb_populate_record(p, jsonb_build_object('conversation_id', copy.id))).*
FROM participants p, copy
WHERE p.user_id = {student}
"""
_IN_ERROR = "NEW.state := 'error'"


@pytest.fixture
async def installed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Settings]:
    """The environment of an operator whose servers and names are the test's."""
    monkeypatch.setenv("CLARION_DATABASE_URL", str(settings.database_url))
    monkeypatch.setenv("CLARION_AMQP_URL", str(settings.amqp_url))
    monkeypatch.setenv("CLARION_AMQP_PREFIX", settings.amqp_prefix)
    yield settings
    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()


@pytest.fixture
async def stack(installed: Settings, tmp_path: Path) -> AsyncIterator[Stack]:
    """The processes of deploy/run, ready."""
    servers = Servers(str(installed.database_url), str(installed.amqp_url), ())
    async with Stack(tmp_path / "runs", servers) as made:
        await made.serve()
        yield made


async def test_the_whole_of_it_for_a_small_course(
    installed: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str], conn: asyncpg.Connection
) -> None:
    assert await demonstrate(once=True, state=tmp_path, students=40) == 0

    said = capsys.readouterr().out
    for line in ("recipients        40", "duplicates found  0", "missing found     0"):
        assert line in said
    assert await conn.fetchval("SELECT count(*) FROM participants WHERE unread") == 40
    assert str(installed.database_url) not in said


@pytest.fixture
async def facts(school: School) -> Facts:
    """A course of 250."""
    return Facts(
        teacher_id=school.teacher,
        administrator_id=school.teacher,
        course_id=school.course,
        students=len(school.students),
    )


async def _token(stack: Stack, facts: Facts) -> str:
    return (await stack.clarion("token", "create", "--user", str(facts.teacher_id))).strip()


async def test_what_is_wrong_with_the_copies_or_the_batch_is_said(
    school: School, facts: Facts, stack: Stack, conn: asyncpg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    console, token = Console(file=sys.stdout), await _token(stack, facts)
    await send_and_check(stack, facts, token, console)
    with pytest.raises(CannotRun, match=r"^the bulk send is wrong: 250 recipients instead of 251$"):
        await send_and_check(stack, replace(facts, students=251), token, console)

    for statement, complaint in (
        (_TAKEN_AWAY, "the bulk send is wrong: 0 recipients have duplicates, 1 have no copy"),
        (_TWICE, "the bulk send is wrong: 1 recipients have duplicates, 0 have no copy"),
        (_IN_ERROR, r"batch \d+ ended in state error: 0 failed, 0 skipped"),
    ):
        await conn.execute("DELETE FROM participants")
        await conn.execute("DELETE FROM conversations")
        await conn.execute(_AT_THE_END.format(statement=statement.format(student=school.students[7])))
        try:
            with pytest.raises(CannotRun, match=rf"^{complaint}$"):
                await send_and_check(stack, facts, token, console)
        finally:
            await conn.execute("DROP TRIGGER doctor ON batches; DROP FUNCTION doctor()")

    said = capsys.readouterr().out
    assert said.count("missing found     1\n") == said.count("duplicates found  1\n") == 1


async def test_it_goes_on_without_one_worker_and_not_without_both(
    stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = (stack.process(f"worker-{number}") for number in (1, 2))
    one.kill()
    one.wait()
    other.kill()
    other.wait()

    with pytest.raises(CannotRun, match=r"^without a worker there is nothing to go on with$"):
        await stack.watch()

    assert capsys.readouterr().err.count("was killed by signal 9") == 2


async def test_a_process_that_does_not_start_is_quoted(
    installed: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARION_HOST", "192.0.2.1")
    servers = Servers(str(installed.database_url), str(installed.amqp_url), ())

    async with Stack(tmp_path / "runs", servers) as stack:
        with pytest.raises(CannotRun, match=r"^api ended with status 1 .*clarion: CLARION_HOST: cannot listen on "):
            await stack.serve()


async def test_a_private_server_that_has_ended_is_named(installed: Settings, tmp_path: Path) -> None:
    ended = PrivatePostgres(tmp_path, "secret")
    stack = Stack(tmp_path / "runs", Servers(str(installed.database_url), str(installed.amqp_url), (ended,)))

    with pytest.raises(CannotRun, match=r"^the private PostgreSQL has ended: "):
        await stack.watch()


async def test_a_command_that_fails_is_quoted(installed: Settings, tmp_path: Path) -> None:
    servers = Servers(str(installed.database_url), str(installed.amqp_url), ())
    there = await clarion(installed, "token", "revoke", "none")

    async with Stack(tmp_path / "runs", servers) as stack:
        with pytest.raises(CannotRun, match=rf"^-m service token revoke: {there.err.strip()}$"):
            await stack.clarion("token", "revoke", "none")


def test_what_to_do_next_begins_with_the_console_and_the_token_is_in_no_query() -> None:
    facts = Facts(teacher_id=1, administrator_id=2, course_id=3, students=4)

    said = invitation("http://127.0.0.1:8080", facts, "T0ken", "Adm1n", Path("logs"))

    assert "Console  http://127.0.0.1:8080/console#token=T0ken\n" in said
    assert " http://127.0.0.1:8080/console#token=Adm1n " in said
    assert not re.search(r"\?\S*(T0ken|Adm1n)", said)
