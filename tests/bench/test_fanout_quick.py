"""The benchmark's command runs, and what it says that is not a matter of time is true."""

from tests.bench.targets import TARGETS
from tests.support.benchmarks import quick_report


async def test_the_quick_benchmark_measures_everything() -> None:
    """Exit 0, one JSON object with a verdict on each target; each send in it was checked to be exactly once."""
    report = await quick_report("fanout")

    assert report.keys() == {"sizes", "machine", "settings", "figures", "targets"}
    figures = report["figures"]
    assert [verdict["target"].split()[0] for verdict in report["targets"]] == [target.figure for target in TARGETS]
    assert all(isinstance(verdict["met"], bool) for verdict in report["targets"])
    assert figures["redelivery_rows_written"] == 0
    assert figures["statements_per_chunk"] == 4
    assert figures["seen_in_time_share"] == 1
    may_be_none = {
        *("redelivery_rows_written", "refused_during_sends", "seen_in_time_refused"),
        *("seen_in_time_chunks_delivered_early", "seen_in_time_chunk_ms"),
    }
    assert all(figures[name] > 0 for name in figures.keys() - may_be_none)
    assert report["machine"]["postgresql"]["synchronous_commit"] == "on"
