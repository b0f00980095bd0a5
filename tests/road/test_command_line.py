"""``clarion send`` and ``clarion batch watch`` against a running service."""

import re
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from sql.verification import Copies, count_copies
from tests.support.commands import OnTerminal, Outcome, clarion
from tests.support.processes import Client, Installation, free_port
from tests.support.school import School

Command = Callable[..., Awaitable[Outcome]]

# Of every batch that is accepted from now on.
_ENDS_AT_ONCE = """
CREATE FUNCTION end_at_once() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.state := ''{state}''; RETURN NEW; END';
CREATE TRIGGER end_at_once BEFORE INSERT ON batches FOR EACH ROW EXECUTE FUNCTION end_at_once();
"""


@pytest.fixture
def as_teacher(as_user: Callable[[int], Awaitable[Client]], running: Installation, school: School) -> Command:
    """Runs a client command as the school's teacher."""

    async def run(*arguments: str) -> Outcome:
        await as_user(school.teacher)
        caller = ("--url", running.url, "--token", f"token-of-{school.teacher}")
        return await clarion(running.settings, *arguments, *caller)

    return run


def _bulk(school: School) -> list[str]:
    recipient = f"course_{school.course}"
    return ["send", "--recipient", recipient, "--context", recipient, "--body", "Hello", "--group", "--bulk", "--async"]


async def test_a_bulk_send_is_followed_to_its_end_in_plain_lines(
    running: Installation, school: School, as_teacher: Command, conn: asyncpg.Connection
) -> None:
    await running.api()
    await running.worker()

    done = await as_teacher(*_bulk(school), "--watch")

    assert (done.code, done.err) == (0, "")
    assert re.match(r"batch \d+ sent: 250 of 250 delivered, [\d,]+/s$", done.out.splitlines()[-1])
    batch = await conn.fetchval("SELECT max(id) FROM batches")
    assert await count_copies(conn, batch) == Copies(recipients=250, duplicates=0, missing=0)


async def test_a_batch_can_be_watched_by_its_id_later(
    running: Installation, school: School, as_teacher: Command
) -> None:
    await running.api()
    sent = await as_teacher(*_bulk(school))
    batch = sent.out.removeprefix("batch: ").strip()
    await running.worker()

    done = await as_teacher("batch", "watch", batch)

    assert done.code == 0
    assert f"batch {batch} sent: 250 of 250 delivered" in done.out


async def test_the_bar_shows_how_far_a_batch_has_come(
    running: Installation, school: School, as_teacher: Command, conn: asyncpg.Connection
) -> None:
    """Without a worker nothing moves but what the test moves."""
    await running.api()
    batch = (await as_teacher(*_bulk(school))).out.removeprefix("batch: ").strip()
    await conn.execute("UPDATE batches SET delivered = 50, state = 'sending'")
    caller = ("--url", running.url, "--token", f"token-of-{school.teacher}")
    command = OnTerminal(running.settings, "batch", "watch", batch, *caller)
    await command.start()

    await command.shows("50/250")
    assert "20%" in command.shown
    assert "100%" not in command.shown
    await conn.execute("UPDATE batches SET delivered = 200, failed = 25")
    await command.shows("225/250")
    assert "90%" in command.shown
    await conn.execute("UPDATE batches SET delivered = 225, state = 'sent'")

    assert await command.end() == 0
    assert "250/250" in command.shown
    assert "100%" in command.shown


@pytest.mark.parametrize(("state", "code"), [("error", 1), ("cancelled", 0)])
async def test_following_fails_for_a_batch_in_error_only(
    as_teacher: Command, running: Installation, school: School, conn: asyncpg.Connection, *, state: str, code: int
) -> None:
    await running.api()
    batch = (await as_teacher(*_bulk(school))).out.removeprefix("batch: ").strip()
    await conn.execute("UPDATE batches SET delivered = 200, failed = 50, state = $1", state)

    watched = await as_teacher("batch", "watch", batch)
    await conn.execute(_ENDS_AT_ONCE.format(state=state))
    try:
        sent = await as_teacher(*_bulk(school), "--watch")
    finally:
        await conn.execute("DROP TRIGGER end_at_once ON batches; DROP FUNCTION end_at_once()")

    last = f"batch {batch} {state}: 200 of 250 delivered, 50 failed, "
    assert last in watched.out.splitlines()[-1]
    assert [watched.code, sent.code] == [code, code]
    if code:
        assert watched.err.startswith(f"clarion: {last}")
        assert " error: 0 of 250 delivered" in sent.err
    else:
        assert watched.err == sent.err == ""


async def test_a_message_to_one_person_names_its_conversation(
    running: Installation, school: School, as_teacher: Command, conn: asyncpg.Connection
) -> None:
    await running.api()

    done = await as_teacher("send", "--recipient", str(school.students[0]), "--subject", "You", "--body", "Hello")

    assert done.out == f"conversations: {await conn.fetchval('SELECT id FROM conversations')}\n"


@pytest.mark.parametrize("command", [["send", "--recipient", "1", "--body", ""], ["batch", "watch", "1"]])
async def test_a_refusal_is_one_line(running: Installation, as_teacher: Command, command: list[str]) -> None:
    await running.api()

    done = await as_teacher(*command)

    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"clarion: 4\d\d [^\n]+\n", done.err)


async def test_a_service_that_is_away_is_one_line(running: Installation) -> None:
    caller = ["--url", f"http://127.0.0.1:{free_port()}", "--token", "t"]

    done = await clarion(running.settings, "send", "--recipient", "1", "--body", "Hello", *caller, fresh=True)

    assert done.code == 1
    assert re.fullmatch(r"clarion: CLARION_URL: cannot reach [^\n]+\n", done.err)
