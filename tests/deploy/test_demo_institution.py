"""The demo institution is what deploy/run says it is."""

import json
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest

from service.contracts.directory import DirectoryEvent, parse_event

SCRIPT = Path(__file__).parents[2] / "deploy" / "demo_institution.py"


def generated(*arguments: str) -> str:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def lines() -> list[str]:
    return generated("--students", "300").splitlines()


@pytest.fixture(scope="module")
def bodies(lines: list[str]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        event = json.loads(line)
        found[event["metadata"]["event_name"]].append(event["body"])
    return found


def test_it_is_the_same_every_time(lines: list[str]) -> None:
    assert generated("--students", "300").splitlines() == lines


def test_every_line_is_an_event_the_directory_follows(lines: list[str]) -> None:
    assert all(isinstance(parse_event(line), DirectoryEvent) for line in lines)


def test_the_facts_name_a_teacher_and_a_course_with_all_the_students(bodies: dict[str, list[dict[str, Any]]]) -> None:
    facts = json.loads(generated("--facts", "--students", "300"))
    roles = Counter(
        (row["type"], row["user_id"] == str(facts["teacher_id"]))
        for row in bodies["enrollment_created"]
        if row["course_id"] == str(facts["course_id"])
    )
    assert facts["students"] == roles["StudentEnrollment", False] == 300
    (administrator,) = [
        row for row in bodies["account_user_created"] if row["user_id"] == str(facts["administrator_id"])
    ]
    assert (administrator["account_id"], administrator["role"]) == ("1", "AccountAdmin")
    assert roles["TeacherEnrollment", True] == 1
    assert {role for role, _ in roles} == {
        f"{role}Enrollment" for role in ("Student", "Teacher", "Ta", "Designer", "Observer")
    }


@pytest.mark.parametrize(
    ("event", "key", "target", "target_key"),
    [
        ("enrollment_created", "user_id", "user_created", "user_id"),
        ("enrollment_created", "course_id", "course_created", "course_id"),
        ("enrollment_created", "course_section_id", "course_section_created", "course_section_id"),
        ("enrollment_created", "associated_user_id", "user_created", "user_id"),
        ("course_section_created", "course_id", "course_created", "course_id"),
        ("course_created", "account_id", "account_created", "account_id"),
        ("account_created", "parent_account_id", "account_created", "account_id"),
        ("account_user_created", "user_id", "user_created", "user_id"),
        ("group_created", "group_category_id", "group_category_created", "group_category_id"),
        ("group_membership_created", "group_id", "group_created", "group_id"),
        ("group_membership_created", "user_id", "user_created", "user_id"),
    ],
)
def test_nothing_refers_to_what_is_not_there(
    bodies: dict[str, list[dict[str, Any]]], event: str, key: str, target: str, target_key: str
) -> None:
    known = {row[target_key] for row in bodies[target]}
    named = {row[key] for row in bodies[event] if row.get(key) is not None}
    assert named
    assert named <= known


@pytest.mark.parametrize(
    ("event", "key"),
    [
        ("user_created", "user_id"),
        ("enrollment_created", "enrollment_id"),
        ("course_section_created", "course_section_id"),
        ("group_membership_created", "group_membership_id"),
    ],
)
def test_ids_are_unique(bodies: dict[str, list[dict[str, Any]]], event: str, key: str) -> None:
    ids = [row[key] for row in bodies[event]]
    assert len(ids) == len(set(ids))
