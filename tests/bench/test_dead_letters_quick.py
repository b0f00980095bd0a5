"""The benchmark of dead letters runs, and what it says that is not a matter of time is true."""

from tests.support.benchmarks import quick_report


async def test_the_quick_benchmark_measures_everything() -> None:
    """Exit 0 and one JSON object; each part has checked that every letter is where it should be."""
    report = await quick_report("dead_letters")

    assert report["bury"]["events"] == report["sizes"]["malformed"]
    assert 0 < report["bury"]["good_one_seconds"] <= report["bury"]["seconds"]
    assert report["browse"]["letters"] == report["sizes"]["letters"]
    for part in ("list", "list_again", "requeue", "drop"):
        assert report["browse"][part]["seconds"] > 0
