"""The benchmark of dead letters runs, and what it says that is not a matter of time is true."""

import asyncio
import json
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


async def test_the_quick_benchmark_measures_everything() -> None:
    """Exit 0 and one JSON object; each part has checked that every letter is where it should be."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.dead_letters", "--quick"),
        cwd=CHECKOUT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, progress = await process.communicate()
    assert process.returncode == 0, progress.decode()

    report = json.loads(output)
    assert report["bury"]["events"] == report["sizes"]["malformed"]
    assert 0 < report["bury"]["good_one_seconds"] <= report["bury"]["seconds"]
    assert report["browse"]["letters"] == report["sizes"]["letters"]
    for part in ("list", "list_again", "requeue", "drop"):
        assert report["browse"][part]["seconds"] > 0
