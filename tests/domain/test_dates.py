"""Dates as the API writes them."""

from datetime import UTC, datetime, timedelta, timezone

from service.domain.dates import iso


def test_dates_are_utc_in_whole_seconds() -> None:
    assert iso(datetime(2024, 5, 1, 12, 34, 56, 999_999, UTC)) == "2024-05-01T12:34:56Z"
    assert iso(datetime(2024, 5, 1, 6, 34, 56, tzinfo=timezone(timedelta(hours=-6)))) == "2024-05-01T12:34:56Z"
