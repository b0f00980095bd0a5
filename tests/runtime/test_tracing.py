"""Trace context as the standard has it, without an exporter."""

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from service.runtime.tracing import add_trace, continued, current_traceparent, span

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


def test_a_traceparent_goes_out_as_it_came() -> None:
    for flags in ("00", "01", "ff"):
        with continued(f"00-{TRACE}-{PARENT}-{flags}"):
            assert current_traceparent() == f"00-{TRACE}-{PARENT}-{flags}"
    assert current_traceparent() is None


def test_one_of_a_later_version_goes_out_in_ours() -> None:
    """https://www.w3.org/TR/trace-context/#versioning-of-traceparent."""
    for later in (f"01-{TRACE}-{PARENT}-01", f"cc-{TRACE}-{PARENT}-01-what.the-future-holds"):
        with continued(later):
            assert current_traceparent() == TRACEPARENT


@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        "",
        7,
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}",
        f"ff-{TRACE}-{PARENT}-01",
        f"01-{TRACE}-{PARENT}-01more",
        TRACEPARENT * 1000,
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_none_is_as_if_none_had_come(nonsense: object) -> None:
    with continued(TRACEPARENT), continued(nonsense):
        assert current_traceparent() is None
        assert add_trace(None, "info", {}) == {}


def test_white_space_around_one_does_not_matter() -> None:
    """As around the value of any header, https://www.rfc-editor.org/rfc/rfc9110#section-5.5."""
    for padded in (f" {TRACEPARENT}", f"{TRACEPARENT}\t"):
        with continued(padded):
            assert current_traceparent() == TRACEPARENT


def test_log_lines_within_name_the_trace() -> None:
    with continued(TRACEPARENT):
        assert add_trace(None, "info", {"event": "e"}) == {"event": "e", "trace_id": TRACE, "span_id": PARENT}
    assert add_trace(None, "info", {"event": "e"}) == {"event": "e"}


@pytest.mark.parametrize("traceparent", [TRACEPARENT, None])
def test_a_span_changes_nothing(traceparent: str | None) -> None:
    with continued(traceparent), span("work", SpanKind.CONSUMER, {"a": 1}) as made:
        made.update_name("other")
        made.set_status(StatusCode.ERROR, "no")
        assert current_traceparent() == traceparent
