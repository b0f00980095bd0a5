"""What is a directory event and what is not (CONTRACT 5)."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.directory import (
    BODIES,
    MAX_EVENT_BYTES,
    DirectoryEvent,
    ForeignEvent,
    MalformedEvent,
    parse_event,
)
from service.contracts.directory_bodies import EnrollmentBody, UserBody

IDS = {
    "user": ("user_id",),
    "user_merged": ("user_id", "merged_into_user_id"),
    "user_account_association": ("user_id", "account_id"),
    "account": ("account_id",),
    "account_user": ("account_user_id", "account_id", "user_id"),
    "role_override": ("role_override_id", "context_id"),
    "course": ("course_id",),
    "course_section": ("course_section_id", "course_id"),
    "enrollment": ("enrollment_id", "course_id", "user_id"),
    "enrollment_state": ("enrollment_id",),
    "group_category": ("group_category_id",),
    "group": ("group_id",),
    "group_membership": ("group_membership_id", "group_id", "user_id"),
    "attachment": ("attachment_id",),
}


def ids_of(name: str) -> tuple[str, ...]:
    return IDS.get(name) or IDS[name.rpartition("_")[0]]


def minimal(name: str) -> dict[str, Any]:
    body: dict[str, Any] = {key: str(number) for number, key in enumerate(ids_of(name), start=7)}
    return body | ({"state": "active"} if name.startswith("enrollment_state") else {})


def line(name: str, body: Any, **metadata: Any) -> bytes:
    return json.dumps(
        {"metadata": {"event_name": name, "event_time": "2026-01-01T00:00:00Z"} | metadata, "body": body}
    ).encode()


def parsed(data: bytes) -> DirectoryEvent:
    event = parse_event(data)
    assert isinstance(event, DirectoryEvent)
    return event


@pytest.mark.parametrize("name", BODIES)
def test_every_event_needs_only_its_ids(name: str) -> None:
    assert parsed(line(name, minimal(name))).name == name


@pytest.mark.parametrize(("name", "missing"), [(name, key) for name in BODIES for key in ids_of(name)])
def test_an_event_without_an_id_key_is_malformed(name: str, missing: str) -> None:
    body = minimal(name)
    with pytest.raises(MalformedEvent, match=rf"body\.{missing}: "):
        parse_event(line(name, {key: value for key, value in body.items() if key != missing}))
    with pytest.raises(MalformedEvent, match=rf"body\.{missing}: "):
        parse_event(line(name, body | {missing: None}))


@given(local=st.integers(1, 10**13 - 1), shard=st.integers(0, 900_000), text=st.booleans())
def test_ids_are_strings_or_numbers_local_or_global(local: int, shard: int, text: bool) -> None:
    sent = shard * 10**13 + local
    body = parsed(line("user_created", {"user_id": str(sent) if text else sent})).body
    assert isinstance(body, UserBody)
    assert body.user_id == local


@pytest.mark.parametrize(
    "sent", ["", "x", "-1", "1.0", " 1", "1_0", "٣", 0, -1, 1.5, True, [], {}, 10**13, 2**63, "9" * 19, "1" * 20]
)
def test_anything_else_is_no_id(sent: Any) -> None:
    with pytest.raises(MalformedEvent, match=r"body\.user_id"):
        parse_event(line("user_created", {"user_id": sent}))


def test_unknown_keys_are_ignored() -> None:
    event = parsed(line("user_created", {"user_id": 1, "favourite": {"x": [1]}}, producer="canvas", hostname=None))
    assert event.body.model_fields_set == {"user_id"}


@pytest.mark.parametrize("name", ["heartbeat", "grade_change", "conversation_created", "user_deleted"])
def test_events_about_something_else_are_foreign_whatever_their_body(name: str) -> None:
    assert parse_event(line(name, None)) == ForeignEvent(name)


def test_a_key_left_out_is_not_a_key_that_is_null() -> None:
    event = parsed(line("user_updated", {"user_id": 1, "pronouns": None}))
    assert event.body.model_fields_set == {"user_id", "pronouns"}


def test_updated_at_orders_events_else_event_time_does() -> None:
    by_body = parsed(line("user_updated", {"user_id": 1, "updated_at": "2026-03-01T10:00:00+02:00"}))
    by_envelope = parsed(line("user_updated", {"user_id": 1, "updated_at": None}, event_time="2026-04-01T00:00:00.5"))
    assert by_body.time == datetime(2026, 3, 1, 8, tzinfo=UTC)
    assert by_envelope.time == datetime(2026, 4, 1, 0, 0, 0, 500_000, tzinfo=UTC)


@pytest.mark.parametrize("time", [None, "yesterday", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z"])
def test_an_event_that_cannot_be_ordered_is_malformed(time: str | None) -> None:
    with pytest.raises(MalformedEvent, match=r"event_time"):
        parse_event(line("user_updated", {"user_id": 1}, event_time=time))


@pytest.mark.parametrize("version", [1, None])
def test_the_version_there_is_is_understood(version: int | None) -> None:
    assert parsed(line("user_created", {"user_id": 1}, version=version)).name == "user_created"


@pytest.mark.parametrize("version", [0, 2, "2.0.0"])
def test_an_event_of_another_version_is_malformed(version: object) -> None:
    with pytest.raises(MalformedEvent, match=r"metadata\.version"):
        parse_event(line("user_created", {"user_id": 1}, version=version))


def test_an_associated_user_comes_with_observers_only() -> None:
    body = parsed(line("enrollment_created", minimal("enrollment_created") | {"associated_user_id": None})).body
    assert isinstance(body, EnrollmentBody)
    assert body.associated_user_id is None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1",
        b'"x"',
        b"\xff\xfe",
        b'{"metadata": 1, "body": {}}',
        b'{"metadata": {}, "body": {"user_id": 1}}',
        b'{"body": {"user_id": 1}}',
        line("user_created", None),
        line("user_created", [1]),
        line("user_created", {"user_id": 1, "name": "a\0b"}),
        line("user_created", {"user_id": 1, "name": 5}),
        line("user_created", {"user_id": 1, "name": "x" * 8193}),
        line("user_created", {"user_id": 1, "user_login": "x" * 513}),
        line("user_merged", {"user_id": 1, "merged_into_user_id": 10**13 + 1}),
        line("course_created", {"course_id": 1, "restrict_enrollments_to_course_dates": "perhaps"}),
        b'{"metadata": {"event_name": "user_created"}, "body": {"user_id": 1, "name": "\\ud800"}}',
        b"[" * 100_000,
        b" " * (MAX_EVENT_BYTES + 1),
    ],
    ids=lambda data: repr(data[:60]),
)
def test_what_cannot_be_read_is_refused_in_one_line(data: bytes) -> None:
    with pytest.raises(MalformedEvent) as refused:
        parse_event(data)
    assert "\n" not in str(refused.value)


@given(st.binary(max_size=200) | st.text(max_size=100))
def test_no_bytes_get_past_the_refusal(data: bytes | str) -> None:
    with pytest.raises(MalformedEvent):
        parse_event(data)
