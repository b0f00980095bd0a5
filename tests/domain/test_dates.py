"""Dates as the API writes them."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import pytest

from service.domain.dates import iso, parse_iso


def test_dates_are_utc_in_whole_seconds() -> None:
    assert iso(datetime(2024, 5, 1, 12, 34, 56, 999_999, UTC)) == "2024-05-01T12:34:56Z"
    assert iso(datetime(2024, 5, 1, 6, 34, 56, tzinfo=timezone(timedelta(hours=-6)))) == "2024-05-01T12:34:56Z"


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-01T12:34:56Z", "2024-05-01T12:34:56Z"),
        ("2024-05-01T06:34:56-06:00", "2024-05-01T12:34:56Z"),
        ("2024-05-01T12:34:56", "2024-05-01T12:34:56Z"),
        (" 2024-05-01 ", "2024-05-01T00:00:00Z"),
    ],
)
def test_dates_of_clients(text: str, moment: str) -> None:
    found = parse_iso(text)
    assert found is not None
    assert iso(found) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2024-13-01", "12:00", "0001-01-01T00:00:00+14:00"])
def test_what_is_no_date(text: str) -> None:
    assert parse_iso(text) is None


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A process in another time zone."""
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_east")
@pytest.mark.parametrize("text", ["2024-05-01T12:34:56", "2024-05-01T12:34:56Z"])
def test_where_the_process_runs_does_not_matter(text: str) -> None:
    found = parse_iso(text)
    assert found == datetime(2024, 5, 1, 12, 34, 56, tzinfo=UTC)
