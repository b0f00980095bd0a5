"""Trace context as the standard has it, and nothing of OpenTelemetry where nobody asked for it."""

import os
import subprocess
import sys

import pytest
from structlog.contextvars import get_contextvars

from service.runtime.settings import SettingsError
from service.runtime.tracing import continued, current_traceparent, exporting, parse_traceparent, span

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture(autouse=True)
def _unasked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


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
        f"{TRACEPARENT}\n",
        f" {TRACEPARENT}",
        TRACEPARENT * 1000,
    ],
    ids=lambda value: repr(value)[:60],
)
def test_what_is_none_is_as_if_none_had_come(nonsense: object) -> None:
    assert parse_traceparent(nonsense) is None
    with continued(nonsense):
        assert current_traceparent() is None
        assert "trace_id" not in get_contextvars()


def test_log_lines_within_name_the_trace() -> None:
    with continued(TRACEPARENT):
        assert {"trace_id": TRACE, "span_id": PARENT}.items() <= get_contextvars().items()
    assert not {"trace_id", "span_id"} & get_contextvars().keys()


def test_without_an_exporter_a_span_changes_nothing() -> None:
    with exporting("test"), continued(TRACEPARENT), span("work", "consumer", {"a": 1}, links=[TRACEPARENT]) as made:
        made.rename("other")
        made.note({"b": "2"})
        made.fail("no")
        assert current_traceparent() == TRACEPARENT


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"},
        {"OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": ""},
    ],
    ids=repr,
)
def test_nothing_of_it_is_loaded_where_nobody_asked(variables: dict[str, str]) -> None:
    program = (
        "import sys, service.cli.api, service.cli.worker\n"
        "from service.runtime.tracing import exporting\n"
        "with exporting('test'):\n"
        "    print([name for name in sys.modules if 'opentelemetry' in name])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | variables, capture_output=True, text=True, check=False
    )

    assert (ran.stdout, ran.returncode) == ("[]\n", 0), ran.stderr


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"OTEL_TRACES_EXPORTER": "zipkin"}, "OTEL_TRACES_EXPORTER"),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"},
            "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        ),
    ],
    ids=repr,
)
def test_what_is_not_known_stops_the_start_with_its_name(
    variables: dict[str, str], named: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError, match=f"^{named}: "), exporting("test"):
        pass
