"""For each key of a row the newest value wins, whatever the order of arrival (CONTRACT 5)."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.directory import BODIES, DirectoryEvent
from service.domain.directory import Change, change_of, rounds
from service.domain.directory_shapes import SHAPES, Kind

START = datetime(2026, 1, 1, tzinfo=UTC)
KEYS = SHAPES[Kind.COURSE].keys
ALL = (1 << len(KEYS)) - 1


def event(name: str, seconds: int = 0, /, **body: Any) -> DirectoryEvent:
    return DirectoryEvent(name, START + timedelta(seconds=seconds), BODIES[name].model_validate(body))


def keys_of(change: Change) -> dict[str, Any]:
    keys = SHAPES[change.kind].keys
    return {
        key: value
        for position, (key, value) in enumerate(zip(keys, change.values, strict=True))
        if change.present_keys is None or change.present_keys >> position & 1
    }


def test_a_change_has_the_keys_of_its_event() -> None:
    change = change_of(event("user_updated", user_id=1, name="Ana", pronouns=None))
    assert (change.kind, change.row) == (Kind.USER, (1,))
    assert keys_of(change) == {"name": "Ana", "pronouns": None}


def test_where_canvas_sent_all_it_always_sends_a_missing_nullable_key_was_dropped_because_it_was_null() -> None:
    steady: dict[str, Any] = {
        "uuid": "u",
        "name": "Ana",
        "short_name": "Ana",
        "workflow_state": "registered",
        "created_at": START,
    }
    change = change_of(event("user_updated", user_id=1, **steady))
    assert keys_of(change) == steady | {"user_login": None, "user_sis_id": None}


def test_an_enrolment_as_canvas_sends_it_has_every_key() -> None:
    body: dict[str, Any] = {
        "enrollment_id": 1,
        "course_id": 2,
        "course_section_id": 3,
        "user_id": 4,
        "type": "StudentEnrollment",
        "limit_privileges_to_course_section": False,
        "workflow_state": "active",
    }
    assert change_of(event("enrollment_created", **body)).present_keys is None


def test_a_merge_deletes_the_merged_account_and_says_where_it_went() -> None:
    change = change_of(event("user_merged", user_id=1, merged_into_user_id=2))
    assert change.row == (1,)
    assert keys_of(change) == {"workflow_state": "deleted", "merged_into_user_id": 2}


@pytest.mark.parametrize(
    ("name", "implied"),
    [
        ("attachment_created", {"workflow_state": "available", "created_at": START}),
        ("attachment_updated", {}),
        ("attachment_deleted", {"workflow_state": "deleted"}),
    ],
)
def test_the_name_of_an_attachment_event_says_whether_the_file_is_there(name: str, implied: dict[str, Any]) -> None:
    assert keys_of(change_of(event(name, attachment_id=1))) == implied


def test_a_creation_is_older_than_a_change_in_the_same_second() -> None:
    created = change_of(event("course_created", course_id=1))
    updated = change_of(event("course_updated", course_id=1))
    assert created.as_of < updated.as_of < change_of(event("course_created", 1, course_id=1)).as_of


def emitted(name: str, milliseconds: float, late: float, /, **body: Any) -> Change:
    """A change at so many milliseconds, whose event was sent so many later."""
    happened = event(name, **body)
    time = happened.time + timedelta(milliseconds=milliseconds)
    return change_of(replace(happened, time=time, emitted=time + timedelta(milliseconds=late)))


def test_of_changes_in_one_second_the_one_sent_later_is_newer() -> None:
    created = emitted("course_created", 0, 900, course_id=1)
    changes = [emitted("course_updated", 0, late, course_id=1) for late in (0, 100, 110, 990)]
    ranks = [change.as_of for change in (created, *changes)]
    assert ranks == sorted(set(ranks))


@given(late=st.integers(-(10**9), 10**9))
def test_an_older_change_stays_older_however_late_it_is_sent(late: int) -> None:
    older = emitted("course_updated", 1, late, course_id=1)
    newer = emitted("course_updated", 2, 0, course_id=1)
    assert older.as_of < newer.as_of
    exact = emitted("course_updated", 1.001, late, course_id=1)
    assert exact.as_of < emitted("course_updated", 1.002, 0, course_id=1).as_of


def changes(distinct_times: bool = True) -> st.SearchStrategy[list[Change]]:
    one = st.tuples(st.integers(1, 3), st.integers(0, 50), st.integers(0, ALL))

    def change(drawn: tuple[int, int, int]) -> Change:
        row, second, present = drawn
        values = tuple(f"{row}/{second}/{key}" if present >> n & 1 else None for n, key in enumerate(KEYS))
        present_keys = None if present == ALL else present
        return Change(Kind.COURSE, (row,), START + timedelta(seconds=second), present_keys, values)

    unique = (lambda drawn: drawn[:2]) if distinct_times else None
    return st.lists(one, max_size=25, unique_by=unique).map(lambda drawn: [change(each) for each in drawn])


def directory_after(arrivals: Iterable[Change]) -> dict[tuple[tuple[int, ...], str], tuple[datetime, Any]]:
    """(row, key) -> (time, value) after changes were written one by one."""
    found: dict[tuple[tuple[int, ...], str], tuple[datetime, Any]] = {}
    for change in arrivals:
        for key, value in keys_of(change).items():
            before = found.get((change.row, key))
            if before is None or before[0] <= change.as_of:
                found[change.row, key] = (change.as_of, value)
    return found


@given(changes(), st.randoms(use_true_random=False))
def test_any_order_with_repeats_ends_in_the_same_directory(arrivals: list[Change], random: Any) -> None:
    shuffled = arrivals + random.sample(arrivals, len(arrivals) // 2)
    random.shuffle(shuffled)
    in_order = sorted(arrivals, key=lambda change: change.as_of)
    in_rounds = [change for turn in rounds(shuffled) for change in turn]
    assert directory_after(in_rounds) == directory_after(shuffled) == directory_after(in_order)


@given(changes(distinct_times=False))
def test_of_two_changes_with_one_time_the_later_arrival_stays(arrivals: list[Change]) -> None:
    in_rounds = [change for turn in rounds(arrivals) for change in turn]
    assert directory_after(in_rounds) == directory_after(arrivals)


@given(changes(distinct_times=False))
def test_a_round_holds_a_row_once_in_ascending_order_and_rounds_are_few(arrivals: list[Change]) -> None:
    found = rounds(arrivals)
    for turn in found:
        rows = [change.row for change in turn]
        assert rows == sorted(set(rows))
    assert len(found) <= len(KEYS) + 1
    assert {change.row for turn in found for change in turn} == {change.row for change in arrivals}


def test_a_change_that_newer_ones_cover_is_not_written() -> None:
    old, new = (change_of(event("course_updated", second, course_id=1, name="x")) for second in (1, 2))
    assert rounds([new, old, new]) == [[new]]


def test_no_changes_make_no_rounds() -> None:
    assert rounds([]) == []


def test_of_a_row_without_keys_one_change_is_left() -> None:
    """That it is there is all that it says."""
    once, again = (change_of(event("user_account_association_created", n, account_id=1, user_id=2)) for n in range(2))
    other = change_of(event("user_account_association_created", 0, account_id=1, user_id=3))

    assert [[change.row for change in turn] for turn in rounds([once, again, other])] == [[(1, 2), (1, 3)]]
