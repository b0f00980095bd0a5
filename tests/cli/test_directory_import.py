"""``clarion directory import`` as an operator runs it (CONTRACT 5.1)."""

import os
import re
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.application.directory.events import apply
from service.domain.snapshots import FIRST_ID
from service.runtime.settings import Settings
from tests.support.commands import OnTerminal, Outcome, clarion
from tests.support.directory_histories import event
from tests.support.snapshots import CANVAS, ONEROSTER, canvas_tables, save, write_zip


async def load(settings: Settings, *paths: str) -> Outcome:
    """Imports what has to be good."""
    done = await clarion(settings, "directory", "import", *paths)
    assert done.code == 0, done.err
    return done


async def rows(conn: asyncpg.Connection, query: str) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await conn.fetch(query)]


async def id_of(conn: asyncpg.Connection, kind: str, sis_id: str) -> int:
    found: int = await conn.fetchval("SELECT id FROM sis_ids WHERE (kind, sis_id) = ($1, $2)", kind, sis_id)
    assert found is not None
    return found


def files_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


STANDINGS = """
SELECT u.sis_id, c.name, s.sis_source_id, e.type, e.standing
FROM enrollment_standings e JOIN users u ON u.id = e.user_id JOIN courses c ON c.id = e.course_id
LEFT JOIN sections s ON s.id = e.section_id ORDER BY 1, 2, 4
"""


async def test_a_folder_of_canvas_becomes_the_directory(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    done = await load(settings, save(tmp_path / "sis", CANVAS))

    assert re.match(r"22 rows in [\d.]+ s \(\d+/s\): \d+ rows written, 0 bad rows\n", done.out)
    assert "  users 4\n" in done.out
    assert done.err == ""
    assert await rows(conn, STANDINGS) == [
        ("U1", "Biology, one", "S1", "TeacherEnrollment", "active"),
        ("U1", "History", None, "TeacherEnrollment", "completed"),  # its term is over
        ("U2", "Biology, one", "S1", "StudentEnrollment", "active"),
        ("U3", "History", "S2", "StudentEnrollment", "completed"),
        ("U4", "Biology, one", "S1", "ObserverEnrollment", "active"),
    ]
    assert await rows(conn, "SELECT sis_id, login, name, sortable_name, pronouns FROM users ORDER BY 1 LIMIT 1") == [
        ("U1", "ana", "Ana Alpha", "Alpha, Ana", "she/her")
    ]
    assert await conn.fetchval("SELECT count(DISTINCT uuid) FROM users") == 4
    accounts = "SELECT a.name, coalesce(p.name, a.parent_account_id::text) FROM accounts a LEFT JOIN accounts p"
    assert await rows(conn, f"{accounts} ON p.id = a.parent_account_id ORDER BY 1") == [
        ("Faculty", "1"),
        ("Institute", "Faculty"),
    ]
    groups = (
        "SELECT g.name, g.context_type, m.workflow_state FROM groups g JOIN group_memberships m ON m.group_id = g.id"
    )
    assert await rows(conn, f"{groups} ORDER BY 1") == [
        ("Club", "Account", "accepted"),
        ("Project", "Course", "accepted"),
    ]
    assert await rows(conn, "SELECT role, workflow_state FROM account_users") == [("AccountAdmin", "active")]


async def test_ids_are_those_of_no_canvas_and_stay(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    """Local (below 10^13), so that the API takes them, and exact in JavaScript."""
    tables = ("users", "courses", "sections", "enrollments", "groups", "group_memberships", "account_users")
    ids = " UNION ALL ".join(f"SELECT '{table}', id FROM {table}" for table in tables) + " ORDER BY 1, 2"
    path = save(tmp_path / "sis", CANVAS)
    await load(settings, path)
    first = await rows(conn, ids)
    await load(settings, path)

    assert await rows(conn, ids) == first
    assert all(FIRST_ID <= row[1] < 10**13 for row in first)


async def test_one_roster_1_1_and_what_becomes_of_its_roles(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    await load(settings, save(tmp_path / "roster", ONEROSTER))

    assert await rows(conn, STANDINGS) == [
        ("P1", "Biology A", "K1a", "TeacherEnrollment", "active"),
        ("P2", "Biology A", "K1a", "StudentEnrollment", "active"),
        ("P3", "Biology A", "K1a", "ObserverEnrollment", "active"),
        ("P5", "Biology A", "K1a", "TaEnrollment", "active"),
    ]
    members = (
        "SELECT a.name FROM user_accounts m JOIN accounts a ON a.id = m.account_id JOIN users u ON u.id = m.user_id"
    )
    assert await rows(conn, f"{members} WHERE u.sis_id = 'P4' ORDER BY 1") == [("District",), ("School",)]
    assert await rows(conn, "SELECT * FROM account_users") == []
    observed = "SELECT o.sis_id FROM enrollments e JOIN users o ON o.id = e.associated_user_id"
    assert await rows(conn, observed) == [("P2",)]
    course = await conn.fetchrow("SELECT start_at, conclude_at FROM courses")
    assert course is not None
    assert tuple(course) == (datetime(2020, 8, 1, tzinfo=UTC), datetime(2999, 6, 30, tzinfo=UTC))


async def test_one_roster_1_2_has_roles_in_a_file_of_their_own(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    header, *people = ONEROSTER["users.csv"].splitlines()
    place = header.split(",").index("role")
    files = ONEROSTER | {
        "users.csv": "\n".join(
            ",".join(cell for n, cell in enumerate(line.replace('"O1,O2"', "O1").split(",")) if n != place)
            for line in (header, *people)
        ),
        "roles.csv": (
            "sourcedId,status,dateLastModified,userSourcedId,roleType,role,beginDate,endDate,orgSourcedId\n"
            "R1,active,,P3,primary,guardian,,,O2\nR2,active,,P5,primary,proctor,,,O1\n"
        ),
    }
    await load(settings, save(tmp_path / "roster", files))

    assert ("P3", "Biology A", "K1a", "ObserverEnrollment", "active") in await rows(conn, STANDINGS)
    members = (
        "SELECT a.name FROM user_accounts m JOIN accounts a ON a.id = m.account_id JOIN users u ON u.id = m.user_id"
    )
    assert await rows(conn, f"{members} WHERE u.sis_id = 'P5' ORDER BY 1") == [("District",), ("School",)]


async def test_what_is_deleted_is_deleted_and_takes_its_observers_along(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    await load(settings, save(tmp_path / "roster", ONEROSTER))
    gone = ONEROSTER | {
        "enrollments.csv": ONEROSTER["enrollments.csv"].replace("E2,,", "E2,tobedeleted,2026-01-01T00:00:00Z")
    }
    await load(settings, save(tmp_path / "roster", gone))

    states = "SELECT u.sis_id, e.workflow_state FROM enrollments e JOIN users u ON u.id = e.user_id ORDER BY 1"
    assert await rows(conn, states) == [("P1", "active"), ("P2", "deleted"), ("P3", "deleted"), ("P5", "active")]

    await load(settings, save(tmp_path / "roster", ONEROSTER))
    users = ONEROSTER["users.csv"].replace(
        "P2,,,true,O2,student,sam,,Sam,Student,,,,,,P3", "P2,,,true,O2,student,sam,,Sam,Student,,,,,,"
    )
    await load(
        settings,
        save(tmp_path / "roster", {"users.csv": users.replace("pat,,Pat,Parent,,,,,,P2", "pat,,Pat,Parent,,,,,,")}),
    )
    assert await rows(conn, states) == [("P1", "active"), ("P2", "active"), ("P3", "deleted"), ("P5", "active")]


async def test_whom_events_have_brought_is_the_same_person_course_and_enrolment(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    """The course is known by its section, because course events have no SIS id (canvas/events.md 3.3)."""
    brought = [
        event("user_created", user_id=7, uuid="u-7", name="Old", workflow_state="registered", user_sis_id="U2"),
        event("course_created", course_id=11, uuid="c-11", name="Old", workflow_state="claimed"),
        event("course_section_created", course_section_id=12, course_id=11, sis_source_id="S1"),
        event(
            "enrollment_created",
            enrollment_id=13,
            course_id=11,
            course_section_id=12,
            user_id=7,
            type="StudentEnrollment",
            workflow_state="active",
        ),
    ]
    await apply(conn, brought)
    await load(settings, save(tmp_path / "sis", CANVAS))

    assert await rows(conn, "SELECT id, uuid, name FROM users WHERE sis_id = 'U2'") == [(7, "u-7", "Bob Beta")]
    # Whether it is published is not for the information system to say.
    assert await rows(conn, "SELECT name, workflow_state FROM courses WHERE id = 11") == [("Biology, one", "claimed")]
    assert await rows(conn, "SELECT id, section_id FROM enrollments WHERE user_id = 7") == [(13, 12)]


async def test_the_row_of_a_merged_user_says_nothing_of_the_one_they_were_merged_into(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    """An information system goes on listing the other account, or lists it as deleted, every night."""
    people = [
        event("user_created", user_id=id_, name=sis_id, workflow_state="registered", user_sis_id=sis_id)
        for id_, sis_id in ((7, "A"), (8, "B"))
    ]
    await apply(conn, [*people, event("user_merged", 1, user_id=8, merged_into_user_id=7)])
    merged = await rows(conn, "SELECT id, sis_id, workflow_state FROM users ORDER BY id")
    for state in ("active", "deleted"):
        snapshot = {
            "users.csv": f"user_id,login_id,full_name,status\nA,a,A,active\nB,b,B,{state}\n",
            "enrollments.csv": "course_id,user_id,role,status\nC,B,student,active\n",
        }
        for _ in range(2):
            await load(settings, save(tmp_path / state, snapshot))

            assert await rows(conn, "SELECT id, sis_id, workflow_state FROM users ORDER BY id") == merged
            assert await rows(conn, "SELECT user_id FROM enrollments") == [(7,)]
            assert (await clarion(settings, "directory", "verify", str(tmp_path / state))).code == 0


async def test_newer_events_win_and_older_ones_do_not(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    await load(settings, save(tmp_path / "sis", CANVAS))
    ana = await id_of(conn, "user", "U1")
    old = event("user_updated", user_id=ana, name="Old")  # long before the import
    new = event("user_updated", 50 * 365 * 86_400, user_id=ana, name="New")  # after it
    for each, name in ((old, "Ana Alpha"), (new, "New")):
        await apply(conn, [each])
        assert await conn.fetchval("SELECT name FROM users WHERE id = $1", ana) == name
    await load(settings, str(tmp_path / "sis"))
    assert await conn.fetchval("SELECT name FROM users WHERE id = $1", ana) == "New"


async def test_references_that_come_first_are_kept(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    for name in ("enrollments.csv", "user_observers.csv", "courses.csv", "users.csv", "sections.csv", "terms.csv"):
        await load(settings, save(tmp_path / name, {name: CANVAS[name]}))
    in_disorder = await rows(conn, STANDINGS)
    await load(settings, save(tmp_path / "sis", CANVAS))

    assert in_disorder == await rows(conn, STANDINGS)
    assert len(in_disorder) == 5


async def test_a_term_that_changes_changes_the_dates_of_its_courses(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    await load(settings, save(tmp_path / "sis", CANVAS))
    later = CANVAS["terms.csv"].replace("2020-06-01", "2998-06-01")
    await load(settings, save(tmp_path / "terms", {"terms.csv": later}))

    assert {row[4] for row in await rows(conn, STANDINGS)} == {"active"}


async def test_dates_of_an_enrolment_say_what_state_it_is_in(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    enrollments = (
        "section_id,user_id,role,status,start_date,end_date\n"
        "S1,U1,student,active,,2020-01-01\nS1,U2,student,active,2999-01-01,\nS2,U3,student,active,2020-01-01,2999-01-01\n"
    )
    await load(settings, save(tmp_path / "sis", CANVAS | {"enrollments.csv": enrollments}))

    assert [(row[0], row[4]) for row in await rows(conn, STANDINGS) if row[3] == "StudentEnrollment"] == [
        ("U1", "completed"),
        ("U2", "pending"),
        ("U3", "active"),  # although its term is over
    ]


async def test_bad_rows_are_reported_with_their_lines_and_the_others_go_on(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    users = (
        "\ufeffuser_id,login_id,full_name,status\r\n"
        'U1,ana,"Ana\r\nAlpha",active\r\n'  # lines 2 and 3
        "U2,bob,Bob,gone\r\n"
        "\r\n"
        ",cyd,Cyd,active\r\n"
        "U4,dee,Dee,active,more\r\n"
        f"U5,eve,{'long ' * 30_000},active\r\n"
        "U6,fay,Fay,active\r\n"
        'U7,gus,"Gus,active\r\n'
    )
    path = tmp_path / "users.csv"
    path.write_bytes(users.encode())
    done = await clarion(settings, "directory", "import", str(path))

    assert done.code == 1
    complaints = [line.removeprefix(f"{path}:").partition(": ") for line in done.err.splitlines()]
    assert [line for line, _, _ in complaints] == ["4", "6", "7", "8", "10"]
    assert complaints[0][2] == "status: is not 'active', 'suspended' or 'deleted'"
    assert complaints[1][2] == "user_id: is missing"
    assert "5 bad rows" in done.out
    assert await rows(conn, "SELECT sis_id, name FROM users ORDER BY 1") == [("U1", "Ana\r\nAlpha"), ("U6", "Fay")]


async def test_a_row_that_the_database_refuses_is_a_bad_row_like_any_other(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    name = "".join(chr(0x4E00 + number * 7919 % 20_000) for number in range(8192))
    lines = [f"U{n},u{n},Name {n},active" for n in range(40)]
    lines[16] = f"U16,u16,{name},active"
    path = save(tmp_path / "sis", {"users.csv": "user_id,login_id,full_name,status\n" + "\n".join(lines)})
    done = await clarion(settings, "directory", "import", path)

    assert done.code == 1
    assert done.err.startswith(f"{path}/users.csv:18: ProgramLimitExceededError: ")
    assert done.err.count("\n") == 1
    assert await conn.fetchval("SELECT count(*) FROM users") == 39


async def test_no_flood_of_complaints(settings: Settings, conn: asyncpg.Connection, tmp_path: Path) -> None:
    path = save(tmp_path / "sis", {"users.csv": "user_id,login_id,status\n" + "U1,u1,odd\n" * 250})
    done = await clarion(settings, "directory", "import", path)

    assert done.code == 1
    assert len(done.err.splitlines()) == 101
    assert done.err.splitlines()[-1] == "150 more bad rows are not shown"


async def test_a_file_in_latin_1_is_bad_as_a_whole_and_one_of_another_kind_is_ignored(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    folder = save(
        tmp_path / "sis", CANVAS | {"notes.txt": "hello", "logins.csv": "user_id,login_id,existing_user_id\n"}
    )
    (tmp_path / "sis" / "users.csv").write_bytes(
        "user_id,login_id,full_name,status\nU1,a,Zoe,active\nU2,b,Zoé,active\n".encode("latin-1")
    )
    done = await clarion(settings, "directory", "import", folder)

    assert done.code == 1
    assert done.err.splitlines() == [
        f"ignored: {folder}/logins.csv, {folder}/notes.txt",
        f"{folder}/users.csv:3: is not UTF-8; nothing of the file is read",
    ]
    assert await conn.fetchval("SELECT count(*) FROM users") == 0
    assert await conn.fetchval("SELECT count(*) FROM courses") == 2


async def test_a_zip_is_read_where_it_lies(settings: Settings, conn: asyncpg.Connection, tmp_path: Path) -> None:
    """Whatever its names say, nothing is written anywhere; a bomb is one long line."""
    path = tmp_path / "two" / "floors" / "day.zip"  # so deep that no name with dots leads out of the test's folder
    path.parent.mkdir(parents=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../escaped/users.csv", CANVAS["users.csv"])
        archive.writestr("inner/courses.csv", CANVAS["courses.csv"])
        archive.writestr("__MACOSX/users.csv", "junk")
        archive.writestr("bomb.csv", b"user_id,login_id,status\n" + bytes(50_000_000))
    done = await clarion(settings, "directory", "import", str(path), TMPDIR=str(tmp_path))

    assert done.code == 1
    assert done.err == f"{path}/bomb.csv:2: is longer than 1048576 bytes\n"
    assert files_below(tmp_path) == [path]
    assert await conn.fetchval("SELECT count(*) FROM users") == 4
    assert await conn.fetchval("SELECT count(*) FROM courses") == 2


async def test_a_zip_that_was_cut_off_is_bad_and_not_of_another_kind(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    folder = tmp_path / "sis"
    save(folder, {"users.csv": CANVAS["users.csv"]})
    write_zip(folder / "day.zip", {"courses.csv": CANVAS["courses.csv"]})
    whole = (folder / "day.zip").read_bytes()
    (folder / "day.zip").write_bytes(whole[: len(whole) // 2])
    done = await clarion(settings, "directory", "import", str(folder))

    assert done.code == 1
    assert done.err == f"{folder}/day.zip: is a zip that is damaged or cut off\n"
    assert await conn.fetchval("SELECT count(*) FROM users") == 4


async def test_what_can_be_read_only_once_is_refused(
    settings: Settings, conn: asyncpg.Connection, tmp_path: Path
) -> None:
    """A pipe, such as ``<(…)`` of a shell: it would be empty, or be waited for, when it is read again."""
    os.mkfifo(tmp_path / "pipe")
    done = await clarion(settings, "directory", "import", str(tmp_path / "pipe"))

    assert done.code == 1
    assert done.err == f"{tmp_path}/pipe: is neither a file nor a folder\n"


@pytest.mark.parametrize("content", [b"PK, no zip", b""])
async def test_what_holds_no_snapshot_is_one_line(settings: Settings, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "day.zip").write_bytes(content)
    done = await clarion(settings, "directory", "import", str(tmp_path / "day.zip"))

    assert (done.code, done.out) == (1, "")
    assert "no file there has a header" in done.err.splitlines()[-1]


async def test_a_missing_path_loads_nothing(settings: Settings, conn: asyncpg.Connection, tmp_path: Path) -> None:
    done = await clarion(settings, "directory", "import", save(tmp_path / "sis", CANVAS), str(tmp_path / "none"))

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("clarion: ")
    assert await conn.fetchval("SELECT count(*) FROM users") == 0


async def test_a_bar_is_drawn_on_a_terminal(settings: Settings, conn: asyncpg.Connection, tmp_path: Path) -> None:
    write_zip(tmp_path / "day.zip", canvas_tables(12_000, 100))
    command = OnTerminal(settings, "directory", "import", str(tmp_path / "day.zip"))
    await command.start()

    assert await command.end() == 0
    assert "━" in command.shown
    assert "12,104 rows" in command.shown
