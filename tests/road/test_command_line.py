"""``clarion send`` and ``clarion batch watch`` against a running service."""

import re
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from sql.verification import Copies, count_copies
from tests.support.commands import Outcome, clarion
from tests.support.processes import Client, Installation, free_port
from tests.support.school import School

Command = Callable[..., Awaitable[Outcome]]


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

    done = await clarion(running.settings, "send", "--recipient", "1", "--body", "Hello", *caller)

    assert done.code == 1
    assert re.fullmatch(r"clarion: Cannot connect [^\n]+\n", done.err)
