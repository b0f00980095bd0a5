"""Ending what this checkout still has running: after a script was killed, and for ``deploy/run --stop``."""

import asyncio
import sys
from pathlib import Path

from deploy.environment import STATE
from deploy.lifetime import run_until_stopped
from deploy.processes import clear_ended, stop_runs
from deploy.servers import stop_servers


async def end_orphans(state: Path) -> int:
    """End what belongs to no living script."""
    await asyncio.to_thread(clear_ended, state / "runs")
    await stop_servers(state, also_used=False)
    return 0


async def end_everything(state: Path) -> int:
    """Stop the scripts that run, then whatever they and killed ones have left; says what it was."""
    if scripts := await asyncio.to_thread(stop_runs, state / "runs"):
        print(f"Stopped {scripts} running script{'s' if scripts > 1 else ''} and what belonged to {_them(scripts)}")
    left = await asyncio.to_thread(clear_ended, state / "runs")
    left += [f"the private {name}" for name in await stop_servers(state, also_used=True)]
    nothing = f"Nothing {'else ' if scripts else ''}of this checkout is running"
    print(f"Stopped {', '.join(left)}" if left else nothing)
    return 0


def _them(how_many: int) -> str:
    return "them" if how_many > 1 else "it"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        run_until_stopped("orphans", end_orphans(Path(sys.argv[1])))
    STATE.mkdir(exist_ok=True)
    run_until_stopped("run", end_everything(STATE))
