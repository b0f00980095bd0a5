"""Base images out of Debian's packages, for where there is no registry to take one from."""

import asyncio
import shutil
from pathlib import Path

from deploy.image.tools import Buildah, call

# What a package's user reads and a process does not; and what apt-get keeps to be quick the next time.
_NOT_NEEDED = (
    *("usr/share/doc", "usr/share/man", "usr/share/info", "usr/share/locale"),
    *("var/cache/apt", "var/lib/apt/lists", "var/log"),
)


async def make_base(buildah: Buildah, folder: Path, suite: str) -> tuple[str, str]:
    """The names of two images of one Debian release: with Python, and with pip besides. Made once in a storage."""
    base, build_base = f"localhost/base-{suite}", f"localhost/build-base-{suite}"
    if not await buildah.has(base):
        print(f"Making {base} with debootstrap, which takes a minute or two", flush=True)
        await _make(buildah, folder / suite, suite, base, "python3,ca-certificates")
    if not await buildah.has(build_base):
        print(f"Making {build_base}", flush=True)
        await _make(buildah, folder / suite, suite, build_base, "python3,ca-certificates,python3-pip,python3-venv")
    return base, build_base


async def _make(buildah: Buildah, root: Path, suite: str, name: str, packages: str) -> None:
    await asyncio.to_thread(shutil.rmtree, root, ignore_errors=True)  # an earlier one may have been interrupted
    await call("debootstrap", "--variant=minbase", f"--include={packages}", suite, str(root))
    await asyncio.to_thread(_empty, root)
    container = await buildah("from", "scratch")
    await buildah("add", "--quiet", container, str(root), "/")
    await buildah("config", "--cmd", "python3", container)
    await buildah("commit", "--quiet", "--rm", container, name)
    await asyncio.to_thread(shutil.rmtree, root)


def _empty(root: Path) -> None:
    for path in _NOT_NEEDED:
        for entry in (root / path).iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
