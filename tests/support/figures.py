"""Figures of this process, as Prometheus would read them."""

from collections.abc import Callable

from prometheus_client.parser import text_string_to_metric_families

from service.runtime.metrics import ProcessKind, exposition


def value(process: ProcessKind, sample: str, **labels: str) -> float:
    """Of that sample; 0 where it was never counted."""
    families = text_string_to_metric_families(exposition(process).decode())
    return next((s.value for f in families for s in f.samples if s.name == sample and s.labels == labels), 0.0)


def growth(process: ProcessKind, sample: str, **labels: str) -> Callable[[], float]:
    """By how much it has grown since now."""
    before = value(process, sample, **labels)
    return lambda: value(process, sample, **labels) - before
