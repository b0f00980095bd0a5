"""Benchmarks, run as an operator runs them."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

_CHECKOUT = Path(__file__).parents[2]
_NO_WAITING = {"CLARION_DRAIN_DELAY": "0"}  # of a gateway that stops, for a balancer that is not there


async def quick_report(name: str) -> dict[str, Any]:
    """The one JSON object that ``python -m tests.bench.NAME --quick`` prints before it exits with 0."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", f"tests.bench.{name}", "--quick"),
        cwd=_CHECKOUT,
        env={**os.environ, **_NO_WAITING},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, progress = await process.communicate()
    assert process.returncode == 0, progress.decode()
    report: dict[str, Any] = json.loads(output)
    return report
