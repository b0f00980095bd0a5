"""The soak's command runs, and what it says that is not a matter of time is true."""

from tests.support.benchmarks import quick_report

# Of each of three processes, with one to look at readiness, and those of the soak itself.
MOST_CONNECTIONS = 3 * (8 + 1) + 2


async def test_a_short_soak_looks_at_everything() -> None:
    """Exit 0 and one JSON object; each send was checked to be exactly once. It is too short to see what grows."""
    report = await quick_report("soak")

    assert report["answers"].keys() <= {"200", "201", "503"}  # of a machine that is busy
    assert sum(report["answers"].values()) > 20
    assert report["recipients"] == 100 * report["sends"] > 0
    assert {verdict["what"].partition(" of ")[0].partition(",")[0] for verdict in report["verdicts"]} == {
        "memory", "open files", "connections to the database", "dead rows",
    }  # fmt: skip
    assert 3 < report["most_connections"] <= MOST_CONNECTIONS
    assert all(dead >= 0 for dead in report["most_dead_rows"].values())
