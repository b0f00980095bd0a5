"""What may stand in send_at: a moment that means the same to everybody."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import Refusal
from service.domain.schedule import parse_start, start_of

SPRING, AUTUMN = datetime(2027, 3, 28, tzinfo=UTC), datetime(2027, 10, 31, tzinfo=UTC)  # clocks change in Europe
OFFSETS = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@given(st.datetimes().filter(lambda local: 2 < local.year < 9998), OFFSETS, st.sampled_from("T "))
def test_a_time_with_a_zone_is_the_moment_that_it_names(local: datetime, zone: timezone, separator: str) -> None:
    written = local.replace(tzinfo=zone).isoformat(sep=separator)

    read = parse_start(written)

    assert read == local.replace(tzinfo=zone)
    assert read is not None
    assert read.utcoffset() == timedelta(0)


@given(
    st.sampled_from([SPRING, AUTUMN]),
    st.integers(-6 * 3600, 6 * 3600),
    st.sampled_from(["Europe/Berlin", "Europe/London", "UTC"]),
)
def test_the_night_in_which_clocks_change_has_each_moment_once(night: datetime, seconds: int, zone: str) -> None:
    """The same time of day comes twice in autumn, with two offsets: they are an hour apart."""
    moment = night + timedelta(seconds=seconds)
    assert parse_start(moment.astimezone(ZoneInfo(zone)).isoformat()) == moment


@given(st.datetimes())
def test_a_time_without_a_zone_is_none(local: datetime) -> None:
    assert parse_start(local.isoformat()) is None


@given(st.dates())
def test_a_date_alone_is_none(day: object) -> None:
    assert parse_start(str(day)) is None
    assert parse_start(f"{day}Z") is None


@given(st.text(max_size=40))
def test_any_text_is_a_moment_or_a_refusal(text: str) -> None:
    if not text.strip():
        assert start_of(text) is None
    elif moment := parse_start(text):
        assert start_of(text) == moment
    else:
        with pytest.raises(Refusal) as refused:
            start_of(text)
        assert (refused.value.attribute, refused.value.message) == ("send_at", "invalid")


@pytest.mark.parametrize(
    "text",
    [
        "1800000000",
        "1800000000.5",
        "tomorrow",
        "2027-03-28T10:00:00Europe/Berlin",
        "2027-03-28T10:00:00 01:00",  # a plus that a form has made a space
        "2027-02-29T10:00:00Z",
        "2027-03-28T25:00:00Z",
        "2027-03-28T10:61:00Z",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
        "\u0662\u0660\u0662\u0667-03-28T10:00:00Z",
        "[]",
        "True",
    ],
)
def test_what_is_no_moment_is_none(text: str) -> None:
    assert parse_start(text) is None


@pytest.mark.parametrize("text", ["2027-03-28T10:00:00Z", "2027-03-28T10:00Z", "20270328T100000Z", "2027-03-28 10:00Z"])
def test_the_forms_of_iso_8601_are_one(text: str) -> None:
    assert parse_start(text) == datetime(2027, 3, 28, 10, tzinfo=UTC)


@pytest.mark.parametrize("text", [None, "", "  "])
def test_nothing_is_no_start(text: str | None) -> None:
    assert start_of(text) is None
