"""``clarion send`` against a running gateway (CONTRACT 3.4)."""

import asyncio
import json
import re
import shlex
import sys
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import aiohttp
import asyncpg
import pytest

from service.domain.dry_run import MOST_SHOWN
from service.runtime.settings import Settings
from sql.verification import Copies, count_copies
from tests.cli.conftest import Person, a_teacher
from tests.support.commands import clarion
from tests.support.processes import Installation, environment, installation
from tests.support.school import School
from tests.support.tcp_proxy import tcp_proxy
from tests.support.waiting import until

_KEY = re.compile(r"^idempotency key: ([0-9a-f]{32})$", re.MULTILINE)


async def test_a_bulk_send_is_followed_to_its_end_in_plain_lines(
    running: Installation, teacher: Person, to_course: list[str], conn: asyncpg.Connection
) -> None:
    await running.worker()

    done = await teacher(*to_course, "--follow")

    assert done.code == 0
    assert re.fullmatch(r"batch \d+ sent: 250 of 250 delivered(, [\d,]+/s)?", done.out.splitlines()[-1])
    assert _KEY.fullmatch(done.err.strip())
    batch = await conn.fetchval("SELECT max(id) FROM batches")
    assert await count_copies(conn, batch) == Copies(recipients=250, duplicates=0, missing=0)


async def test_as_json_it_is_the_batch_or_the_conversations(
    teacher: Person, to_course: list[str], school: School, conn: asyncpg.Connection
) -> None:
    bulk = await teacher(*to_course, "--json")
    one = await teacher(*_to(school.students[0]), "--json", "--follow")

    batch = json.loads(bulk.out)
    assert (bulk.code, batch["state"], batch["total"]) == (0, "created", 250)
    (conversation,) = json.loads(one.out)
    assert (one.code, conversation["id"]) == (0, await conn.fetchval("SELECT id FROM conversations"))
    assert _KEY.fullmatch(bulk.err.strip())
    assert _KEY.fullmatch(one.err.strip())


async def test_a_message_to_people_names_its_conversations(
    teacher: Person, school: School, conn: asyncpg.Connection
) -> None:
    """There is nothing to follow."""
    first, second, third = school.students[:3]

    done = await teacher(*_to(first, second), "--follow")
    group = await teacher(*_to(first, third), "--group-conversation")

    ids = [row["id"] for row in await conn.fetch("SELECT id FROM conversations ORDER BY id")]
    assert (done.code, group.code) == (0, 0)
    shown = [int(id_) for text in (done.out, group.out) for id_ in text.removeprefix("conversations: ").split()]
    assert sorted(shown) == ids
    assert len(ids) == 3


async def test_it_is_sent_once_when_the_answer_is_lost(
    running: Installation, teacher: Person, to_course: list[str], conn: asyncpg.Connection
) -> None:
    async with tcp_proxy("127.0.0.1", running.settings.port) as proxy:
        proxy.lost = 2

        done = await teacher.at(f"http://127.0.0.1:{proxy.port}")(*to_course)

    assert done.code == 0
    assert done.out == f"batch: {await conn.fetchval('SELECT id FROM batches')}\n"
    (key,) = _KEY.findall(done.err)
    assert proxy.asked.count(f"Idempotency-Key: {key}".encode()) == 3
    assert done.err.count("; trying again") == 1


async def test_an_error_of_the_service_may_have_come_after_the_message_was_accepted(
    teacher: Person, to_course: list[str], conn: asyncpg.Connection
) -> None:
    """It is told apart from a refusal; the key is written as a shell takes it."""
    await conn.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$;"
        " CREATE TRIGGER refuse BEFORE INSERT ON sends FOR EACH ROW EXECUTE FUNCTION refuse()"
    )

    try:
        done = await teacher(*to_course, "--idempotency-key", "it's monday")
    finally:
        await conn.execute("DROP FUNCTION refuse CASCADE")

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("clarion: 500 Internal Server Error")
    assert done.err.endswith(
        "(it may have been sent; to repeat it safely: --idempotency-key " + shlex.quote("it's monday") + ")\n"
    )


async def test_what_is_under_way_under_the_same_key_is_waited_for(
    running: Installation, teacher: Person, to_course: list[str], conn: asyncpg.Connection
) -> None:
    """Two commands at once, as of a script that was started twice: one batch, which both name."""

    async def refused() -> bool:
        async with aiohttp.ClientSession() as session, session.get(f"{running.url}/metrics") as response:
            return 'status="409"' in await response.text()

    async with conn.transaction():
        await conn.execute("LOCK TABLE sends IN SHARE MODE")
        both = [asyncio.create_task(teacher(*to_course, "--idempotency-key", "monday")) for _ in range(2)]
        await until(refused)

    first, second = await asyncio.gather(*both)
    assert (first.code, second.code) == (0, 0)
    assert first.out == second.out == f"batch: {await conn.fetchval('SELECT id FROM batches')}\n"


async def test_a_key_of_ones_own_makes_it_repeatable(
    teacher: Person, to_course: list[str], conn: asyncpg.Connection
) -> None:
    first = await teacher(*to_course, "--idempotency-key", "monday")
    again = await teacher(*to_course, "--idempotency-key", "monday")
    other = await teacher(*to_course, "--body", "Goodbye", "--idempotency-key", "monday")

    assert first == again == (0, f"batch: {await conn.fetchval('SELECT id FROM batches')}\n", "")
    assert (other.code, other.out) == (1, "")
    words = HTTPStatus(422).phrase  # Python has another one since 3.13
    assert other.err == f"clarion: 422 {words}: idempotency_key: used for another request\n"


@pytest.mark.parametrize("status", ["429 Too Many Requests", "403 Forbidden"])
async def test_a_throttled_caller_waits(
    settings: Settings, school: School, conn: asyncpg.Connection, *, status: str
) -> None:
    """As long as the service says; where it says 403, which elsewhere ends it, it does not say how long."""
    async with installation(settings.model_copy(update={"throttle_status": int(status[:3])})) as running:
        await running.api()
        teacher = await a_teacher(running, school, conn)
        await _fill_bucket(running, conn)

        done = await teacher(*_to(school.students[0]))

    assert done.code == 0
    assert f"clarion: {status}: {status} (Rate Limit Exceeded); trying again\n" in done.err


async def test_what_a_throttled_caller_downloads_is_waited_for_as_well(
    running: Installation, teacher: Person, batch: str, school: School, conn: asyncpg.Connection
) -> None:
    await _fill_bucket(running, conn)

    done = await teacher("batch", "recipients", batch, "--csv")

    assert (done.code, len(done.out.splitlines())) == (0, len(school.students) + 1)
    assert done.err.startswith("clarion: 429 Too Many Requests: ")
    assert done.err.count("\n") == 1


async def test_what_is_throttled_for_longer_than_one_waits_fails_at_once(
    settings: Settings, school: School, conn: asyncpg.Connection
) -> None:
    large = settings.throttle_high_water + 2000 * settings.throttle_outflow
    async with installation(settings.model_copy(update={"throttle_maximum": large})) as running:
        await running.api()
        teacher = await a_teacher(running, school, conn)
        await _fill_bucket(running, conn, seconds=1000)

        done = await teacher(*_to(school.students[0]))

    assert (done.code, done.out) == (1, "")
    assert "clarion: 429 Too Many Requests: 429 Too Many Requests (Rate Limit Exceeded) (it may" in done.err
    assert "trying again" not in done.err


async def _fill_bucket(running: Installation, conn: asyncpg.Connection, *, seconds: int = 1) -> None:
    """Of every token: above the mark for so long."""
    rules = running.settings
    await conn.execute(
        "INSERT INTO throttle_buckets (token_hash, empties_at)"
        " SELECT token_hash, clock_timestamp() + $1 * interval '1 second' FROM access_tokens"
        " ON CONFLICT (token_hash) DO UPDATE SET empties_at = excluded.empties_at",
        float(rules.throttle_high_water / rules.throttle_outflow + seconds),
    )


async def test_closed_output_is_no_reason_not_to_send(
    teacher: Person, school: School, conn: asyncpg.Connection
) -> None:
    """A process may be started without any."""
    send = ["-m", "service", *_to(school.students[0]), "--json"]
    closed = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", 'exec "$0" "$@" >&- 2>&-', sys.executable, *send),
        env=environment(teacher.settings, CLARION_URL=teacher.url, CLARION_TOKEN=teacher.token),
    )

    assert await closed.wait() == 0
    assert await conn.fetchval("SELECT count(*) FROM sends") == 1


async def test_what_the_encoding_of_the_output_lacks_is_shown_as_an_escape(
    teacher: Person, batch: str, conn: asyncpg.Connection
) -> None:
    await conn.execute("UPDATE sends SET body = 'Gr\N{LATIN SMALL LETTER U WITH DIAERESIS}n \N{GRINNING FACE}'")

    text = await teacher("batch", "show", batch, fresh=True, PYTHONIOENCODING="iso-8859-5")

    assert (text.code, text.err) == (0, "")
    assert text.out.splitlines()[-1].endswith(r"Gr\xfcn \U0001f600")


async def test_a_dry_run_says_who_would_get_it(
    teacher: Person, to_course: list[str], school: School, conn: asyncpg.Connection
) -> None:
    text = await teacher(*_to(school.students[0]), "--to", "999", "--to", "nobody\x1b[31m[red]", "--dry-run")
    bulk = await teacher(*to_course, "--dry-run", "--json", "--idempotency-key", "monday")

    assert (text.code, text.err) == (0, "")
    rows = dict(re.split(r"  +", line.strip(), maxsplit=1) for line in text.out.splitlines()[:-1])
    assert rows == {
        "to": str(school.students[0]),
        "recipients": "1",
        "kind": "private",
        "mode": "sync",
        "new threads": "1",
        "reused threads": "0",
        "limit": "100",
        "rejected": "2",
        "999": "unknown",
        r"nobody\x1b[31m[red]": "malformed",
    }
    assert (bulk.code, bulk.err) == (0, "")
    found = json.loads(bulk.out)
    assert (found["dry_run"], found["total"], found["kind"], found["mode"]) == (True, 250, "bulk_separate", "async")
    assert await conn.fetchval("SELECT count(*) FROM conversations") == 0
    assert await conn.fetchval("SELECT count(*) FROM idempotency_keys") == 0


async def test_of_many_recipients_the_first_are_named(teacher: Person, school: School) -> None:
    done = await teacher(*_to(*school.students[:12]), "--dry-run")

    named = ", ".join(map(str, school.students[:10]))
    assert done.out.splitlines()[0].split(maxsplit=1) == ["to", f"{named} and 2 more"]


async def test_of_many_rejected_recipients_the_first_are_named(teacher: Person, school: School) -> None:
    unknown = range(900_000, 900_000 + MOST_SHOWN + 30)

    done = await teacher(*_to(school.students[0], *unknown), "--dry-run")

    assert done.out.startswith("recipients ")  # and not with those who would get it: of some it is not known
    assert done.out.count("unknown") == MOST_SHOWN
    assert done.out.endswith("  and 30 more\nNothing was sent.\n")


async def test_a_message_for_later_is_scheduled(teacher: Person, to_course: list[str]) -> None:
    moment = (datetime.now(UTC) + timedelta(days=2)).replace(microsecond=0)

    sent = await teacher(*to_course, "--at", moment.isoformat(), "--json")

    batch = json.loads(sent.out)
    assert (sent.code, batch["state"]) == (0, "scheduled")
    assert datetime.fromisoformat(batch["send_at"]) == moment


async def test_the_body_comes_from_a_file_as_it_is(
    teacher: Person, school: School, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    body = "Grüße\n\n[bold]\x1b[31mnot markup[/bold]\n"
    file = tmp_path / "body.txt"
    file.write_text(body)
    to = ["send", "--to", str(school.students[0]), "--subject", "[red]", "--body-file"]

    piped = await teacher(*to, "-", stdin=body.encode(), PYTHONIOENCODING="ascii")
    read = await teacher(*to, str(file))
    latin = await teacher(*to, "-", stdin="Grüße".encode("latin-1"))

    assert (piped.code, read.code) == (0, 0)
    assert [row["body"] for row in await conn.fetch("SELECT body FROM sends")] == [body, body]
    assert (latin.code, latin.out) == (2, "")
    assert "- is not text in UTF-8" in latin.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--subject", "S", "--body", "B"], "one of them"),
        (["--course", "1", "--to", "2", "--subject", "S", "--body", "B"], "one of them"),
        (["--course", "Biology", "--subject", "S", "--body", "B"], "an id is a number"),
        (["--to", "1", "--subject", "S"], "one of them"),
        (["--to", "1", "--subject", "S", "--body", "B", "--body-file", "-"], "one of them"),
        (["--to", "1", "--subject", "S", "--body-file", "/no/such/file"], "/no/such/file: No such file or directory"),
        (["--to", "1", "--body", "B"], "--subject"),
        (["--to", "1", "--subject", "S", "--body", "B", "--at", "2030-01-01T08:00"], "2030-01-01T08:00:00+09:00"),
        (["--to", "1", "--subject", "S", "--body", "B", "--at", "tomorrow"], "a time with its zone"),
        (["--to", "1", "--subject", "S", "--body", "B", "--at", "2030-01-01"], "a time with its zone"),
        (["--to", "1", "--subject", "S", "--body", "B", "--at", "0001-01-01T00:00"], "a time with its zone"),
        (["--to", "1", "--subject", "S", "--body", "B", "--idempotency-key", ""], "no key: blank"),
        (["--to", "1", "--subject", "S", "--body", "B", "--idempotency-key", "a\nb"], "no key: not printable"),
    ],
)
async def test_wrong_usage_asks_nobody(settings: Settings, arguments: list[str], said: str) -> None:
    """There is no service."""
    person = Person(settings, "http://127.0.0.1:1", "t")

    done = await person("send", *arguments, TZ="Asia/Tokyo", COLUMNS="300")

    assert (done.code, done.out) == (2, "")
    assert said in done.err


async def test_without_a_token_it_is_wrong_usage(running: Installation) -> None:
    for command in (["batch", "list"], ["batch", "show", "1"], ["send", "--to", "1", "--subject", "S", "--body", "B"]):
        done = await clarion(running.settings, *command, without=["CLARION_TOKEN"], COLUMNS="300")

        assert (done.code, done.out) == (2, "")
        assert "--token" in done.err
        assert "CLARION_TOKEN" in done.err


async def test_a_refusal_is_one_line(running: Installation, teacher: Person, school: School) -> None:
    too_many = await teacher("send", "--course", str(school.course), "--subject", "S", "--body", "B")
    previewed = await teacher("send", "--course", str(school.course), "--subject", "S", "--body", "B", "--dry-run")
    past = await teacher(*_to(school.students[0]), "--at", "2020-01-01T08:00Z")
    nowhere = await teacher(*_to(999_999))
    empty = await teacher(*_to(school.students[0]), "--body", "")
    unknown = await Person(running.settings, running.url, "wrong")(*_to(1))

    assert {done.code for done in (too_many, previewed, past, nowhere, empty, unknown)} == {1}
    assert too_many.err.splitlines()[-1] == (
        "clarion: 400 Bad Request: recipients: too many for group conversation"
        " (with --bulk each has a conversation of their own, in any number)"
    )
    assert previewed.err == too_many.err.splitlines(keepends=True)[-1]
    assert past.err.splitlines()[-1] == (
        "clarion: 400 Bad Request: send_at: invalid (--at is a time to come, up to 366 days ahead)"
    )
    assert nowhere.err.splitlines()[-1] == (
        "clarion: 400 Bad Request: recipients: invalid"
        " (you may write to none; to a course, section or group only those write who belong to it)"
    )
    assert empty.err.splitlines()[-1] == "clarion: 400 Bad Request: body: blank"
    assert unknown.err.splitlines()[-1] == (
        "clarion: 401 Unauthorized: Invalid access token. (is CLARION_TOKEN right?)"
    )


def _to(*users: int) -> list[str]:
    return ["send", *(word for user in users for word in ("--to", str(user))), "--subject", "You", "--body", "Hello"]
