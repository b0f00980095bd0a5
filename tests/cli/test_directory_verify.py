"""``clarion directory verify`` as an operator runs it (CONTRACT 5.1)."""

import re
from pathlib import Path

import asyncpg
import pytest

from service.application.directory.events import apply
from service.runtime.settings import Settings
from tests.support.commands import clarion
from tests.support.directory_histories import event
from tests.support.snapshots import CANVAS, ONEROSTER, save, without


async def imported(settings: Settings, folder: Path, files: dict[str, str]) -> str:
    """The path of a snapshot that has been imported."""
    path = save(folder, files)
    assert (await clarion(settings, "directory", "import", path)).code == 0
    return path


async def state_of(conn: asyncpg.Connection) -> list[object]:
    """All rows of the directory with the transactions that wrote them, and all SIS ids."""
    tables = ("accounts", "users", "courses", "sections", "enrollments", "groups", "sis_ids", "snapshot_rows")
    return [await conn.fetch(f"SELECT xmin, ctid, * FROM {table} ORDER BY ctid") for table in tables]


@pytest.mark.parametrize(("files", "rows"), [(CANVAS, 22), (ONEROSTER, 14)])
async def test_after_an_import_nothing_differs_and_nothing_is_changed(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path, files: dict[str, str], rows: int
) -> None:
    path = await imported(settings, tmp_path / "snapshot", files)
    before = await state_of(conn)
    done = await clarion(settings, "directory", "verify", path)

    assert (done.code, done.err) == (0, "")
    assert re.match(rf"{rows} rows compared in [\d.]+ s: 0 differences, 0 bad rows\n  ", done.out)
    assert await state_of(conn) == before


async def test_what_differs_is_named_whichever_side_lacks_it(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    path = await imported(settings, tmp_path / "sis", CANVAS)
    bob = await conn.fetchval("SELECT id FROM users WHERE sis_id = 'U2'")
    group = await conn.fetchval("SELECT id FROM groups WHERE name = 'Project'")
    year = 365 * 86_400
    await apply(conn, [event("user_updated", 2 * year, user_id=bob, name="Robert"), event("user_created", user_id=5)])
    await apply(conn, [event("group_updated", 2 * year, group_id=group, workflow_state="deleted")])
    save(tmp_path / "sis", {"users.csv": CANVAS["users.csv"].replace("U3,cyd", "U9,cyd")})
    save(tmp_path / "sis", {"group_membership.csv": without(CANVAS["group_membership.csv"], "G2")})
    before = await state_of(conn)
    done = await clarion(settings, "directory", "verify", path)

    assert done.code == 1
    lines = [re.sub(r"\d{13}", "ID", line) for line in done.out.splitlines()]
    assert lines[:6] == [
        "users 5: not in the snapshot",
        "users U3 (ID): not in the snapshot",
        "users U9: not in the directory",
        'users U2 (ID): name is "Robert", in the snapshot "Bob Beta"',
        'groups G1 (ID): workflow_state is "deleted", in the snapshot "available"',
        'group_memberships ["G2","U3"] (ID): not in the snapshot',
    ]
    assert re.match(r"21 rows compared in [\d.]+ s: 6 differences, 0 bad rows", lines[6])
    assert await state_of(conn) == before


async def test_a_flood_of_differences_is_cut_off_and_counted(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    users = "user_id,login_id,full_name,status\n" + "".join(f"U{n},u{n},Name,active\n" for n in range(250))
    done = await clarion(settings, "directory", "verify", save(tmp_path / "sis", {"users.csv": users}))

    assert done.code == 1
    assert len(done.out.splitlines()) == 103
    assert "users: 150 more not in the directory" in done.out
    assert ": 250 differences" in done.out


async def test_what_holds_only_changes_lacks_nothing(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    """As a manifest of OneRoster says: ``delta``."""
    await imported(settings, tmp_path / "roster", ONEROSTER)
    one = ONEROSTER["users.csv"].splitlines(keepends=True)[:2]
    for mode, code in (("bulk", 1), ("delta", 0)):
        files = {"manifest.csv": f"propertyName,value\nfile.users,{mode}\n", "users.csv": "".join(one)}
        done = await clarion(settings, "directory", "verify", save(tmp_path / mode, files))
        assert done.code == code
