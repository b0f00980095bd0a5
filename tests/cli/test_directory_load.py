"""``clarion directory load`` as a user runs it (CONTRACT 2)."""

import json
from pathlib import Path
from typing import Any

import asyncpg
from pydantic_core import MultiHostUrl

from service.contracts.directory import MAX_EVENT_BYTES
from service.runtime.settings import Settings
from tests.support.commands import clarion


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


async def test_without_a_path_it_is_wrong_usage(settings: Settings) -> None:
    assert (await clarion(settings, "directory", "load")).code == 2
