"""What one row of the outbox stands for, as bytes, against the contracts and Canvas's documented form."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import islice
from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from service.contracts.events import EVENTS, milliseconds, parse_event
from service.domain.event_metadata import Cause
from service.domain.outbox import BatchEventRow, BulkCopies, Encoded, FirstMessages, MessagesRow, event_time

RECORDED = datetime(2024, 5, 1, 12, 34, 56, 789_999, UTC)
CREATED = datetime(2024, 5, 1, 12, 34, 50, 999_999, UTC)
CAUSE = Cause({"root_account_id": "10000000000001", "job_id": "deliver.7.12", "job_tag": "deliver"}, "00-a-b-01")


def messages_row(event: str, *pairs: tuple[int, int]) -> MessagesRow:
    """A row by user 42."""
    return MessagesRow(event, RECORDED, CAUSE, 42, CREATED, pairs)


def decoded(row: MessagesRow | BatchEventRow) -> list[tuple[str, str, dict[str, Any]]]:
    """(message id, event name by its metadata, body) of each event."""
    found = []
    for event in row.events():
        parsed = orjson.loads(event.body)
        assert list(parsed) == ["metadata", "body"]
        assert parsed["metadata"]["event_name"] == event.name
        assert parsed["metadata"]["message_id"] == event.message_id
        found.append((event.message_id, event.name, parsed["body"]))
    return found


def test_a_first_message_comes_after_its_conversation() -> None:
    assert decoded(messages_row("delivered", (17, 17))) == [
        (
            "conversation_created.17",
            "conversation_created",
            {"conversation_id": "17", "updated_at": "2024-05-01T12:34:50Z"},
        ),
        (
            "conversation_message_created.17",
            "conversation_message_created",
            {"author_id": "42", "conversation_id": "17", "created_at": "2024-05-01T12:34:50Z", "message_id": "17"},
        ),
    ]


def test_a_message_in_a_conversation_that_was_there_comes_alone() -> None:
    assert [message_id for message_id, _, _ in decoded(messages_row("delivered", (5, 17), (6, 6)))] == [
        "conversation_message_created.17",
        "conversation_created.6",
        "conversation_message_created.6",
    ]


def test_people_who_joined_come_before_the_message_by_which_they_did() -> None:
    assert decoded(messages_row("forwarded", (5, 17))) == [
        (
            "conversation_forwarded.17",
            "conversation_forwarded",
            {"conversation_id": "5", "updated_at": "2024-05-01T12:34:50Z"},
        ),
        (
            "conversation_message_created.17",
            "conversation_message_created",
            {"author_id": "42", "conversation_id": "5", "created_at": "2024-05-01T12:34:50Z", "message_id": "17"},
        ),
    ]


def test_the_metadata_is_that_of_the_cause_with_name_time_and_producer() -> None:
    (_, event) = messages_row("delivered", (17, 17)).events()

    assert orjson.loads(event.body)["metadata"] == {
        "event_name": "conversation_message_created",
        "event_time": "2024-05-01T12:34:56.789Z",
        "producer": "canvas",
        "root_account_id": "10000000000001",
        "job_id": "deliver.7.12",
        "job_tag": "deliver",
        "message_id": "conversation_message_created.17",
    }
    assert event.traceparent == "00-a-b-01"


def test_copies_of_a_bulk_send_say_of_which_and_for_whom() -> None:
    """New threads and reused ones: the message, not the conversation, tells the recipient."""
    row = MessagesRow(
        "delivered", RECORDED, CAUSE, 42, CREATED, [(17, 17), (5, 18)], BulkCopies(7, 16, [100, 101, 102])
    )

    told = {event.message_id: orjson.loads(event.body)["metadata"] for event in row.events()}

    assert {name: (of.get("batch_id"), of.get("recipient_id")) for name, of in told.items()} == {
        "conversation_created.17": (None, None),
        "conversation_message_created.17": ("10000000000007", "10000000000101"),
        "conversation_message_created.18": ("10000000000007", "10000000000102"),
    }
    for event in row.events():
        parse_event(event.name, event.body)


def test_copies_of_a_chunk_that_is_gone_say_of_which_send_they_are() -> None:
    row = MessagesRow("delivered", RECORDED, CAUSE, 42, CREATED, [(17, 17)], BulkCopies(7, 0, ()))

    *_, event = row.events()

    metadata = orjson.loads(event.body)["metadata"]
    assert metadata["batch_id"] == "10000000000007"
    assert "recipient_id" not in metadata


def test_a_batch_may_be_scheduled_again() -> None:
    body = {**dict.fromkeys(("total", "delivered", "failed", "skipped"), "0"), "batch_id": "7", "state": "scheduled"}
    at = [RECORDED, RECORDED + timedelta(milliseconds=1, microseconds=999)]
    rows = [BatchEventRow("batch_scheduled", moment, CAUSE, body) for moment in at]

    encoded = [event for row in rows for event in row.events()]

    parsed = [parse_event(event.name, event.body) for event in encoded]
    assert [getattr(event, "message_id", None) for event in parsed] == [event.message_id for event in encoded]
    assert len({event.message_id for event in encoded}) == 2


@pytest.mark.parametrize("name", [name for name in EVENTS if name.startswith("batch_")])
def test_a_batch_comes_out_as_it_was_recorded(name: str) -> None:
    body = {"batch_id": "7", "state": "sending", "total": "9", "delivered": "3", "failed": "2", "skipped": "1"}

    ((message_id, event, found),) = decoded(BatchEventRow(name, RECORDED, CAUSE, body))

    assert (event, found) == (name, body)
    settled, moment = "batch_progress.7.6", f"batch_scheduled.7.{milliseconds(RECORDED)}"
    assert message_id == {"batch_progress": settled, "batch_scheduled": moment}.get(name, f"{name}.7")


def test_what_may_happen_to_a_batch_again_has_another_id_then() -> None:
    body = {"batch_id": "7", "state": "sending", "total": "9", "delivered": "3", "failed": "2", "skipped": "1"}

    rows = [
        BatchEventRow(name, RECORDED, CAUSE, body, moves)
        for name in ("batch_paused", "batch_progress")
        for moves in (1, 3)
    ]

    assert [message_id for row in rows for message_id, _, _ in decoded(row)] == [
        "batch_paused.7.1",
        "batch_paused.7.3",
        "batch_progress.7.6.1",
        "batch_progress.7.6.3",
    ]


def test_every_event_keeps_its_contract() -> None:
    body = {"batch_id": "7", "state": "sent", "total": "2", "delivered": "2", "failed": "0", "skipped": "0"}
    batch = [BatchEventRow(name, RECORDED, CAUSE, body) for name in EVENTS if name.startswith("batch_")]
    rows: list[MessagesRow | BatchEventRow] = [
        messages_row("delivered", (17, 17)),
        messages_row("forwarded", (5, 18)),
        *batch,
    ]

    encoded = [event for row in rows for event in row.events()]

    assert {event.name for event in encoded} == set(EVENTS)
    for event in encoded:
        found = parse_event(event.name, event.body)
        assert getattr(found, "message_id", event.message_id) == event.message_id


def test_an_unknown_key_breaks_the_contract() -> None:
    event = next(messages_row("delivered", (17, 17)).events())
    broken = event.body.replace(b'"conversation_id"', b'"subject":"Secret","conversation_id"')

    with pytest.raises(ValidationError):
        parse_event(event.name, broken)


def test_a_chunk_takes_no_room_for_its_copies() -> None:
    """Were they made at once, this would not end."""
    row = MessagesRow("delivered", RECORDED, CAUSE, 42, CREATED, FirstMessages(2000, 10**15))

    first: list[Encoded] = list(islice(row.events(), 4))

    assert [event.message_id for event in first] == [
        "conversation_created.2000",
        "conversation_message_created.2000",
        "conversation_created.2001",
        "conversation_message_created.2001",
    ]


def test_first_messages_are_pairs_of_the_same_id() -> None:
    made = FirstMessages(5, 3)

    assert list(made) == [(5, 5), (6, 6), (7, 7)]
    assert (len(made), made[-1], made[1:]) == (3, (7, 7), [(6, 6), (7, 7)])


def test_the_time_of_an_event_is_utc_in_milliseconds() -> None:
    there = timezone(timedelta(hours=-6))

    assert event_time(datetime(2024, 5, 1, 6, 0, tzinfo=there)) == "2024-05-01T12:00:00.000Z"
