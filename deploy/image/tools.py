"""Buildah with a storage of the checkout's own, and other programs that are run to their end."""

import asyncio
import json
from pathlib import Path
from typing import Any

from deploy.failure import CannotRun


async def call(*command: str, within: Path | None = None) -> str:
    """What it printed; CannotRun with the last that it said when it fails. A cancelled call ends the program."""
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=within,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        printed, said = await process.communicate()
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
    if process.returncode:
        last = "\n".join((printed + said).decode("utf-8", "replace").strip().splitlines()[-15:])
        raise CannotRun(f"{command[0]} failed: {' '.join(command[:12])}\n{last}")
    return printed.decode("utf-8")


class Buildah:
    """Needs no daemon, and no more of the kernel than chroot: ``vfs`` copies where overlays may not be mounted."""

    def __init__(self, storage: Path) -> None:
        self._storage = storage

    async def __call__(self, verb: str, *arguments: str) -> str:
        """Runs one of its commands; what that printed, without the line's end."""
        isolated = ("--isolation", "chroot") if verb in ("build", "run") else ()
        places = (f"--root={self._storage}/images", f"--runroot={self._storage}/run", "--storage-driver=vfs")
        return (await call("buildah", *places, verb, *isolated, *arguments)).strip()

    async def has(self, image: str) -> bool:
        """Whether the storage has an image of that name."""
        names = [
            name for each in json.loads(await self("images", "--json") or "[]") for name in each.get("names") or ()
        ]
        return any(name.split(":")[0] == image for name in names)

    async def config(self, image: str) -> dict[str, Any]:
        """What the image says about itself: ``User``, ``Env``, ``Entrypoint``, ``Cmd``."""
        found: dict[str, Any] = json.loads(await self("inspect", "--type", "image", image))["OCIv1"]["config"]
        return found
