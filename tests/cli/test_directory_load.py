"""``clarion directory load`` as a user runs it (CONTRACT 2)."""

import gzip
import io
import json
import os
import re
from codecs import BOM_UTF8
from pathlib import Path
from typing import Any

import asyncpg
from pydantic_core import MultiHostUrl
from rich.console import Console

from service.cli.directory_files import DirectoryFile
from service.cli.directory_progress import LoadProgress
from service.cli.ndjson import blocks_of_lines
from service.cli.stdin import STDIN
from service.contracts.directory import MAX_EVENT_BYTES
from service.runtime.settings import Settings
from tests.support.commands import OnTerminal, clarion


def line(name: str, /, **body: Any) -> str:
    return json.dumps({"metadata": {"event_name": name, "event_time": "2026-01-01T00:00:00Z"}, "body": body}) + "\n"


async def users(conn: asyncpg.Connection) -> list[int]:
    return [row["id"] for row in await conn.fetch("SELECT id FROM users ORDER BY id")]


async def test_files_and_stdin_are_loaded_and_counted(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "a.ndjson").write_text(line("user_created", user_id=1) + "\n" + line("heartbeat"))
    (tmp_path / "b.ndjson").write_text(line("user_created", user_id=2).rstrip("\n"))
    done = await clarion(
        settings,
        *("directory", "load", str(tmp_path / "a.ndjson"), "-", str(tmp_path / "b.ndjson")),
        stdin=line("user_created", user_id="10000000000003").encode(),
    )
    assert (done.code, done.err) == (0, "")
    assert "3 events" in done.out
    assert "3 rows written, 1 events ignored, 0 bad lines" in done.out
    assert await users(conn) == [1, 2, 3]


async def test_a_bad_line_is_reported_with_its_number_and_stops_nothing(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    file = tmp_path / "mixed.ndjson"
    file.write_bytes(
        line("user_created", user_id=1).encode()
        + b"{broken\n"
        + b"x" * (3 * MAX_EVENT_BYTES)
        + b"\n\n"
        + line("user_created", name="Ana").encode()
        + line("user_created", user_id=2).encode()
    )
    done = await clarion(settings, "directory", "load", str(file))
    assert done.code == 1
    assert [report.removeprefix(f"{file}:").partition(": ")[0] for report in done.err.splitlines()] == ["2", "3", "5"]
    assert "body.user_id: is missing" in done.err
    assert "3 bad lines" in done.out
    assert await users(conn) == [1, 2]


async def test_a_line_that_the_database_refuses_is_a_bad_line_like_any_other(
    settings: Settings, conn: asyncpg.Connection
) -> None:
    name = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(8192))
    lines = [line("user_created", user_id=user) for user in range(1, 41)]
    lines[16] = line("user_created", user_id=17, name=name)
    done = await clarion(settings, "directory", "load", "-", stdin="".join(lines).encode())
    assert done.code == 1
    assert done.err.startswith("stdin:17: ProgramLimitExceededError: index row ")
    assert done.err.count("\n") == 1
    assert "39 events" in done.out
    assert "39 rows written, 0 events ignored, 1 bad lines" in done.out
    assert await users(conn) == [user for user in range(1, 41) if user != 17]


async def test_more_than_one_set_is_loaded_whole(settings: Settings, conn: asyncpg.Connection) -> None:
    lines = "".join(line("user_created", user_id=user, name="Ana" * 20) for user in range(1, 12_002))
    done = await clarion(settings, "directory", "load", "-", stdin=lines.encode())
    assert done.code == 0
    assert await users(conn) == list(range(1, 12_002))


async def test_a_missing_file_is_one_line_and_loads_nothing(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    (tmp_path / "there").write_text(line("user_created", user_id=1))
    done = await clarion(settings, "directory", "load", str(tmp_path / "there"), str(tmp_path / "missing"))
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("clarion: ")
    assert done.err.count("\n") == 1
    assert await users(conn) == []


async def test_a_database_that_is_away_is_one_line(settings: Settings) -> None:
    away = settings.model_copy(update={"database_url": MultiHostUrl("postgresql://user@127.0.0.1:1/none")})
    done = await clarion(away, "directory", "load", "-")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("clarion: ")
    assert done.err.count("\n") == 1


async def test_gzip_and_a_byte_order_mark_are_understood(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    mark = b"\xef\xbb\xbf"
    (tmp_path / "plain").write_bytes(mark + line("user_created", user_id=1).encode())
    (tmp_path / "packed").write_bytes(gzip.compress(mark + line("user_created", user_id=2).encode()))
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "mark").write_bytes(mark)
    files = [str(tmp_path / name) for name in ("plain", "packed", "empty", "mark")]

    done = await clarion(
        settings, "directory", "load", *files, "-", stdin=gzip.compress(line("user_created", user_id=3).encode())
    )

    assert (done.code, done.err) == (0, "")
    assert await users(conn) == [1, 2, 3]


def test_a_mark_that_a_pipe_hands_over_alone_is_not_the_end() -> None:
    reading, writing = os.pipe()
    with open(reading, "rb") as stored, open(writing, "wb", buffering=0) as pipe:
        pipe.write(BOM_UTF8)
        file = DirectoryFile(STDIN, stored)
        pipe.write(b"{}\n")

        assert file.read1(100) == b"{}\n"


async def test_a_last_line_that_is_too_long_stays_so_when_it_is_shortened() -> None:
    """Blanks at its end do not make an event of it."""
    text = line("user_created", user_id=1).strip().ljust(2 * MAX_EVENT_BYTES).encode()

    assert [[len(found) for found in block] async for block in blocks_of_lines(io.BytesIO(text))] == [
        [MAX_EVENT_BYTES + 1]
    ]


async def test_a_mark_within_a_file_is_a_bad_line(settings: Settings) -> None:
    text = line("user_created", user_id=1).encode() + b"\xef\xbb\xbf" + line("user_created", user_id=2).encode()

    done = await clarion(settings, "directory", "load", "-", stdin=text)

    assert (done.code, done.err.partition(": ")[0]) == (1, "stdin:2")


async def test_a_packed_file_that_is_cut_short_is_one_line(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    whole = gzip.compress("".join(line("user_created", user_id=user) for user in range(1, 1000)).encode())
    (tmp_path / "cut.gz").write_bytes(whole[:-100])

    done = await clarion(settings, "directory", "load", str(tmp_path / "cut.gz"))

    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(rf"clarion: {tmp_path}/cut.gz: cannot be unpacked to its end: [^\n]+\n", done.err)


async def test_a_file_of_the_wrong_kind_makes_no_flood(settings: Settings, conn: asyncpg.Connection) -> None:
    lines = "user_id,login_id\n" * 250 + line("user_created", user_id=1)

    done = await clarion(settings, "directory", "load", "-", stdin=lines.encode())

    assert done.code == 1
    *complaints, rest = done.err.splitlines()
    assert [complaint.partition(": ")[0] for complaint in complaints] == [f"stdin:{n}" for n in range(1, 101)]
    assert rest == "150 more bad lines are not shown"
    assert "1 rows written, 0 events ignored, 250 bad lines" in done.out
    assert await users(conn) == [1]


async def test_a_bar_is_drawn_on_a_terminal(settings: Settings, conn: asyncpg.Connection, tmp_path: Path) -> None:
    lines = [line("user_created", user_id=user, name="Ana" * 30) for user in range(1, 4001)]
    lines[2000] = "{broken\n"
    file = tmp_path / "d"
    file.write_text("".join(lines))

    command = OnTerminal(settings, "directory", "load", str(file))
    await command.start()

    assert await command.end() == 1
    assert f"{file}:2001: " in command.shown
    assert "━" in command.shown
    assert len(set(re.findall(r"(\d+)%", command.shown))) > 1
    assert "100%" in command.shown
    assert "3,999 events" in command.shown
    assert len(await users(conn)) == 3999


def test_a_line_now_and_then_in_a_pipe() -> None:
    said = io.StringIO()
    with LoadProgress(Console(file=said), 1000, "events", "bad lines", line_every=0) as progress:
        progress.show(250, 10, 1)
        progress.next_file(300)
        progress.next_file(100)
        progress.show(100, 20, 1)
    with LoadProgress(Console(file=said), None, "events", "bad lines", line_every=3600) as quiet:
        quiet.show(1, 1, 0)

    assert re.fullmatch(
        r"25%, 10 events, 1 bad lines, [\d,]+ events/s\n50%, 20 events, 1 bad lines, [\d,]+ events/s\n", said.getvalue()
    )


async def test_without_a_path_it_is_wrong_usage(settings: Settings) -> None:
    assert (await clarion(settings, "directory", "load")).code == 2
