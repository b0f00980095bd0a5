"""The benchmark of directory events runs, and what it says that is not a matter of time is true."""

from tests.support.benchmarks import quick_report


async def test_the_quick_benchmark_measures_everything() -> None:
    """Exit 0 and one JSON object; each part has checked that all its events are in the tables."""
    report = await quick_report("directory")

    sizes = report["sizes"]
    for part, events in (("from_full_queue", sizes["events"]), ("one_by_one", sizes["one_by_one"])):
        assert report[part]["events"] == events
        assert report[part]["per_second"] > 0
    assert report["from_a_file"]["lines"] == sizes["lines"]
    assert report["while_published"]["events"] == sizes["events"]
    assert report["from_full_queue"]["events_per_set"] > 1
    assert report["times_one_by_one"] > 0
