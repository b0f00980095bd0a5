"""Snapshots of a student information system, as large as a test or a benchmark wants them."""

import csv
import io
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

Table = Iterable[Sequence[object]]


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
            with (
                archive.open(name, "w", force_zip64=True) as entry,
                io.TextIOWrapper(entry, "utf-8", newline="") as text,
            ):
                csv.writer(text).writerows(rows)


CANVAS: dict[str, str] = {
    "accounts.csv": "account_id,parent_account_id,name,status\nA1,,Faculty,active\nA2,A1,Institute,active\n",
    "terms.csv": (
        "term_id,name,status,start_date,end_date\n"
        "T1,Now,active,2020-01-01T00:00:00Z,2999-01-01T00:00:00Z\nT2,Over,active,2020-01-01,2020-06-01\n"
    ),
    "courses.csv": (
        "course_id,short_name,long_name,account_id,term_id,status\n"
        'C1,B1,"Biology, one",A2,T1,active\nC2,H1,History,A1,T2,active\n'
    ),
    "sections.csv": "section_id,course_id,name,status\nS1,C1,Morning,active\nS2,C2,Evening,active\n",
    "users.csv": (
        "user_id,login_id,first_name,last_name,pronouns,status\n"
        "U1,ana,Ana,Alpha,she/her,active\nU2,bob,Bob,Beta,,active\nU3,cyd,Cyd,Gamma,,active\nU4,dee,Dee,Delta,,active\n"
    ),
    "enrollments.csv": (
        "course_id,user_id,role,section_id,status,associated_user_id\n"
        "C1,U1,teacher,S1,active,\nC1,U2,student,S1,active,\n,U3,Student,S2,active,\nC2,U1,teacher,,active,\n"
    ),
    "groups.csv": "group_id,course_id,account_id,name,status\nG1,C1,,Project,available\nG2,,A1,Club,available\n",
    "group_membership.csv": "group_id,user_id,status\nG1,U2,accepted\nG2,U3,accepted\n",
    "admins.csv": "user_id,account_id,role,status\nU1,A1,AccountAdmin,active\n",
    "user_observers.csv": "observer_id,student_id,status\nU4,U2,active\n",
}

ONEROSTER: dict[str, str] = {
    "manifest.csv": "propertyName,value\nmanifest.version,1.0\nfile.users,bulk\n",
    "orgs.csv": (
        "sourcedId,status,dateLastModified,name,type,identifier,parentSourcedId\n"
        "O1,,,District,district,,\nO2,,,School,school,,O1\n"
    ),
    "academicSessions.csv": (
        "sourcedId,status,dateLastModified,title,type,startDate,endDate,parentSourcedId,schoolYear\n"
        "T1,,,Year,schoolYear,2020-08-01,2999-06-30,,2999\n"
    ),
    "courses.csv": (
        "sourcedId,status,dateLastModified,schoolYearSourcedId,title,courseCode,grades,orgSourcedId,subjects,subjectCodes\n"
        "K1,,,T1,Biology,BIO,,O2,,\n"
    ),
    "classes.csv": (
        "sourcedId,status,dateLastModified,title,grades,courseSourcedId,classCode,classType,location,"
        "schoolSourcedId,termSourcedIds,subjects,subjectCodes,periods\n"
        "K1a,,,Biology A,,K1,A,scheduled,,O2,T1,,,\n"
    ),
    "users.csv": (
        "sourcedId,status,dateLastModified,enabledUser,orgSourcedIds,role,username,userIds,givenName,familyName,"
        "middleName,identifier,email,sms,phone,agentSourcedIds,grades,password\n"
        "P1,,,true,O2,teacher,tess,,Tess,Teacher,,,,,,,,\n"
        "P2,,,true,O2,student,sam,,Sam,Student,,,,,,P3,,\n"
        "P3,,,true,O2,parent,pat,,Pat,Parent,,,,,,P2,,\n"
        'P4,,,true,"O1,O2",administrator,adi,,Adi,Admin,,,,,,,,\n'
        "P5,,,true,O2,aide,ada,,Ada,Aide,,,,,,,,\n"
    ),
    "enrollments.csv": (
        "sourcedId,status,dateLastModified,classSourcedId,schoolSourcedId,userSourcedId,role,primary,beginDate,endDate\n"
        "E1,,,K1a,O2,P1,teacher,true,,\nE2,,,K1a,O2,P2,student,,,\nE3,,,K1a,O2,P5,aide,,,\n"
        "E4,,,K1a,O2,P4,administrator,,,\n"
    ),
}


def save(folder: Path, files: dict[str, str]) -> str:
    """A folder of these files; its path."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    return str(folder)


def without(text: str, first_cell: str) -> str:
    """A file without the row that begins with this cell."""
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(f"{first_cell},")]
    assert len(lines) < len(text.splitlines())
    return "".join(lines)
