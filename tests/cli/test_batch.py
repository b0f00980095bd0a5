"""``clarion batch list``, ``show``, ``recipients`` and the moves (CONTRACT 3.4)."""

import csv
import io
import json

import asyncpg
import pytest

from tests.cli.conftest import Person
from tests.support.processes import Installation
from tests.support.school import School


@pytest.fixture
async def told(conn: asyncpg.Connection, batch: str) -> str:
    """A batch whose message would do something to a terminal."""
    await conn.execute("UPDATE sends SET body = E'Line one\\n\\x1b[2J[bold]two'")
    return batch


async def test_batches_are_listed_newest_first_in_whatever_state(
    teacher: Person, told: str, to_course: list[str], conn: asyncpg.Connection
) -> None:
    await teacher(*to_course)
    newer = str(await conn.fetchval("SELECT max(id) FROM batches"))
    await conn.execute(
        "UPDATE batches SET state = 'error', delivered = 200, failed = 50, finished_at = now() WHERE id = $1", int(told)
    )

    text = await teacher("batch", "list")
    as_json = await teacher("batch", "list", "--json")
    in_error = await teacher("batch", "list", "--json", "--state", "error", "--state", "sent")
    newest = await teacher("batch", "list", "--json", "--limit", "1")
    both = await teacher("batch", "list", "--json", "--limit", "2")

    head, *rows = text.out.splitlines()
    assert head.split() == ["ID", "STATE", "TOTAL", "DELIVERED", "FAILED", "SKIPPED", "CREATED", "MESSAGE"]
    assert [row.split()[:6] for row in rows] == [
        [newer, "created", "250", "0", "0", "0"],
        [told, "error", "250", "200", "50", "0"],
    ]
    assert rows[1].endswith(r"Line one \x1b[2J[bold]two")
    assert [str(each["id"]) for each in json.loads(as_json.out)] == [newer, told]
    assert [str(each["id"]) for each in json.loads(in_error.out)] == [told]
    assert [str(each["id"]) for each in json.loads(newest.out)] == [newer]
    assert (len(json.loads(both.out)), both.err) == (2, "")
    assert newest.err == "Not all of them: the newest 1; --limit N shows more\n"
    assert as_json.err == in_error.err == text.err == ""


async def test_more_than_a_page_of_batches_is_listed_when_asked_for(
    teacher: Person, told: str, conn: asyncpg.Connection
) -> None:
    await conn.execute(
        "INSERT INTO batches OVERRIDING SYSTEM VALUE"
        " SELECT (jsonb_populate_record(b, jsonb_build_object('id', 1000000 + i))).*"
        " FROM batches b, generate_series(1, 210) i"
    )

    listed = await teacher("batch", "list", "--limit", "205", "--json")
    usual = await teacher("batch", "list", "--json")

    assert [each["id"] for each in json.loads(listed.out)] == [1_000_210 - i for i in range(205)]
    assert len(json.loads(usual.out)) == 100


@pytest.mark.parametrize("arguments", [["--state", "lost"], ["--limit", "0"], ["--stuck", "--limit", "3"]])
async def test_what_cannot_be_listed_is_wrong_usage(teacher: Person, arguments: list[str]) -> None:
    done = await teacher("batch", "list", *arguments)

    assert (done.code, done.out) == (2, "")


async def test_a_batch_is_shown_whole(teacher: Person, told: str, conn: asyncpg.Connection) -> None:
    await conn.execute("UPDATE batches SET delivered = 12, total = 12345, state = 'sending'")

    text = await teacher("batch", "show", told)
    as_json = await teacher("batch", "show", told, "--json")

    rows = dict(line.split(maxsplit=1) for line in text.out.splitlines())
    assert rows.items() >= {"batch": told, "state": "sending", "recipients": "12,345", "delivered": "12"}.items()
    assert rows["message"] == r"Line one \x1b[2J[bold]two"
    found = json.loads(as_json.out)
    assert rows["created"] == found["created_at"]
    assert (found["total"], found["message"]["body"]) == (12345, "Line one\n\x1b[2J[bold]two")
    assert (text.code, text.err, as_json.code, as_json.err) == (0, "", 0, "")


async def test_of_a_long_message_the_beginning_is_shown(teacher: Person, batch: str, conn: asyncpg.Connection) -> None:
    await conn.execute("UPDATE sends SET body = $1", "Hello " * 100)
    await conn.execute("UPDATE batches SET error = E'[red]\\x1b[31mno'")

    text = await teacher("batch", "show", batch)

    rows = dict(line.split(maxsplit=1) for line in text.out.splitlines())
    assert rows["message"] == ("Hello " * 10)[:59] + "…"
    assert rows["error"] == r"[red]\x1b[31mno"


async def test_times_are_those_of_the_viewers_zone_on_a_terminal(
    teacher: Person, batch: str, conn: asyncpg.Connection
) -> None:
    await conn.execute("UPDATE batches SET created_at = '2026-01-01T20:00:00Z'")

    command = await teacher.on_terminal("batch", "show", batch)

    assert await command.end() == 0
    assert "2026-01-02 05:00:00 JST" in command.shown


async def test_a_long_message_does_not_wrap_the_list_on_a_terminal(teacher: Person, to_course: list[str]) -> None:
    await teacher(*to_course, "--body", "word " * 40)

    command = await teacher.on_terminal("batch", "list")

    assert await command.end() == 0
    head, row = command.shown.splitlines()
    assert head.startswith("ID")
    assert row.endswith("…")
    assert len(row) == 120


async def test_recipients_are_streamed_over_all_pages(teacher: Person, batch: str, school: School) -> None:
    as_json = await teacher("batch", "recipients", batch, "--json")
    as_csv = await teacher("batch", "recipients", batch, "--csv")
    text = await teacher("batch", "recipients", batch)

    assert [row["user_id"] for row in json.loads(as_json.out)] == school.students
    rows = list(csv.DictReader(io.StringIO(as_csv.out, newline="")))
    assert [int(row["user_id"]) for row in rows] == school.students
    head, *lines = text.out.splitlines()
    assert head.split() == ["USER", "STATE", "CONVERSATION", "UPDATED", "ERROR"]
    assert [line.split()[:3] for line in lines] == [[str(id_), "pending", "-"] for id_ in school.students]
    assert [done.err for done in (as_json, as_csv, text)] == [""] * 3


async def test_recipients_in_one_state_come_with_their_reasons(teacher: Person, batch: str, school: School) -> None:
    cancelled = await teacher("batch", "cancel", batch, "--json")

    failed = await teacher("batch", "recipients", batch, "--state", "failed", "--json")
    none = await teacher("batch", "recipients", batch, "--state", "failed")
    no_csv = await teacher("batch", "recipients", batch, "--state", "failed", "--csv")
    skipped = await teacher("batch", "recipients", batch, "--state", "skipped")
    unknown = await teacher("batch", "recipients", batch, "--state", "lost")

    assert json.loads(cancelled.out)["state"] == "cancelled"
    assert (json.loads(failed.out), len(none.out.splitlines()), len(no_csv.out.splitlines())) == ([], 1, 1)
    assert [line.split()[-1] for line in skipped.out.splitlines()[1:]] == ["cancelled"] * len(school.students)
    assert (unknown.code, unknown.out) == (2, "")


async def test_a_reason_does_nothing_to_a_terminal(teacher: Person, batch: str, conn: asyncpg.Connection) -> None:
    await conn.execute("UPDATE chunks SET state = 'failed', error = E'[red]\\x1b[31mno'")

    done = await teacher("batch", "recipients", batch, "--state", "failed")

    assert done.out.splitlines()[-1].endswith(r"  delivery_failed: [red]\x1b[31mno")


async def test_recipients_are_either_csv_or_json(teacher: Person) -> None:
    done = await teacher("batch", "recipients", "1", "--csv", "--json")

    assert (done.code, done.out) == (2, "")


async def test_a_batch_is_moved(teacher: Person, batch: str, conn: asyncpg.Connection) -> None:
    paused = await teacher("batch", "pause", batch)
    resumed = await teacher("batch", "resume", batch, "--json")
    await conn.execute(
        "UPDATE batches SET delivered = 230, failed = 20, state = 'error', finished_at = now();"
        " UPDATE chunks SET state = CASE WHEN position = 1 THEN 'failed' ELSE 'delivered' END"
    )
    retried = await teacher("batch", "retry", batch, "--json")
    cancelled = await teacher("batch", "cancel", batch)
    refused = await teacher("batch", "pause", batch)

    assert paused == (0, f"batch {batch} paused: 0 of 250 delivered\n", "")
    assert json.loads(resumed.out)["state"] == json.loads(retried.out)["state"] == "sending"
    assert (resumed.code, retried.code) == (0, 0)
    assert cancelled == (0, f"batch {batch} cancelled: 230 of 250 delivered, 20 skipped\n", "")
    assert (refused.code, refused.out) == (1, "")
    assert refused.err == ("clarion: 409 Conflict: state: does not allow to pause (the batch is in state cancelled)\n")


async def test_another_senders_batch_is_not_there(running: Installation, teacher: Person) -> None:
    for command in ("show", "watch", "recipients", "cancel"):
        done = await teacher("batch", command, "1")

        assert (done.code, done.out) == (1, "")
        assert done.err == (
            "clarion: 404 Not Found: The specified resource does not exist."
            " (is the id right, and may this caller see what it names?)\n"
        )
