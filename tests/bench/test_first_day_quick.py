"""The benchmark of the first day runs, and what it says that is not a matter of time is true."""

from tests.support.benchmarks import quick_report


async def test_the_quick_benchmark_measures_everything() -> None:
    """Exit 0 and one JSON object; the message was in the inbox, and all rows are in the tables."""
    report = await quick_report("first_day")

    assert report["first_message"]["seconds"] > report["first_message"]["import_seconds"] > 0
    for part in ("again", "verify", "many_enrollments"):
        assert report[part]["rows_per_second"] > 0
        assert report[part]["peak_memory_bytes"] > 0
