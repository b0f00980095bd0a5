"""Snapshots of a student information system, as large as a test or a benchmark wants them."""

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

Table = Iterable[Sequence[object]]


def csv_text(*rows: Sequence[object]) -> str:
    """Rows as the text of a file; the first is the header."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def canvas_tables(users: int, enrollments: int, *, per_course: int = 100) -> dict[str, Table]:
    """Files of Canvas's SIS import, made row by row: users, their courses of one section each, and who is in which."""
    courses = max(enrollments // per_course, 1)
    return {
        "accounts.csv": [("account_id", "parent_account_id", "name", "status"), ("A1", "", "Faculty", "active")],
        "terms.csv": [("term_id", "name", "status", "start_date", "end_date"), ("T1", "Now", "active", "", "")],
        "courses.csv": _courses(courses),
        "sections.csv": _sections(courses),
        "users.csv": _users(users),
        "enrollments.csv": _enrollments(users, enrollments, courses),
    }


def _courses(courses: int) -> Iterator[Sequence[object]]:
    yield "course_id", "short_name", "long_name", "account_id", "term_id", "status"
    for n in range(courses):
        yield f"C{n}", f"C{n}", f"Course, number {n}", "A1", "T1", "active"


def _sections(courses: int) -> Iterator[Sequence[object]]:
    yield "section_id", "course_id", "name", "status"
    for n in range(courses):
        yield f"S{n}", f"C{n}", f"Section {n}", "active"


def _users(users: int) -> Iterator[Sequence[object]]:
    yield "user_id", "login_id", "first_name", "last_name", "email", "status"
    for n in range(users):
        yield f"U{n}", f"login{n}", f"First{n}", f"Last{n * 7919 % users}", f"u{n}@school.example", "active"


def _enrollments(users: int, enrollments: int, courses: int) -> Iterator[Sequence[object]]:
    """The first of each course is its teacher; nobody is in a course twice."""
    yield "course_id", "user_id", "role", "section_id", "status"
    for n in range(enrollments):
        course, turn = n % courses, n // courses
        user = (course * 37 + turn * 101) % users
        yield f"C{course}", f"U{user}", "teacher" if turn == 0 else "student", f"S{course}", "active"


def write_zip(path: Path, tables: dict[str, Table]) -> None:
    """A zip of those files, never in memory as a whole."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, rows in tables.items():
            with archive.open(name, "w", force_zip64=True) as entry, io.TextIOWrapper(entry, "utf-8", newline="") as text:
                csv.writer(text).writerows(rows)


def write_folder(path: Path, tables: dict[str, Table]) -> None:
    """A folder of those files."""
    path.mkdir(exist_ok=True)
    for name, rows in tables.items():
        with (path / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
