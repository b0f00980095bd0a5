"""The benchmark's command runs, and what it says that is not a matter of time is true."""

import asyncio
import json
import sys
from pathlib import Path

from tests.bench.targets import TARGETS

CHECKOUT = Path(__file__).parents[2]


async def test_the_quick_benchmark_measures_everything() -> None:
    """Exit 0, one JSON object with a verdict on each target; each send in it was checked to be exactly once."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.bench.fanout",
        "--quick",
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, progress = await process.communicate()
    assert process.returncode == 0, progress.decode()

    report = json.loads(output)
    assert report.keys() == {"sizes", "machine", "settings", "figures", "targets"}
    figures = report["figures"]
    assert [verdict["target"].split()[0] for verdict in report["targets"]] == [target.figure for target in TARGETS]
    assert all(isinstance(verdict["met"], bool) for verdict in report["targets"])
    assert figures["redelivery_rows_written"] == 0
    assert figures["statements_per_chunk"] == 4
    may_be_none = {"redelivery_rows_written", "refused_during_sends"}
    assert all(figures[name] > 0 for name in figures.keys() - may_be_none)
    assert report["machine"]["postgresql"]["synchronous_commit"] == "on"
