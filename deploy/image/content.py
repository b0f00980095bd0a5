"""What may be in the image, and what may not."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deploy.failure import CannotRun

LARGEST = 250_000_000  # bytes, unpacked
_BUILD_TOOLS = {"pip", "pip3", "gcc", "cc", "c++", "make", "ld", "git", "curl", "wget"}
_BUILD_PACKAGES = {"pip", "setuptools", "wheel", "ensurepip"}


def check_content(root: Path, config: dict[str, Any]) -> list[str]:
    """What there is to say about it; CannotRun when something is not as it should be. ``root``: where it is mounted."""
    files = list(_files(root))
    size = sum(status.st_size for _, status in files)
    wrong = [
        *(f"a build tool: {path}" for path, _ in files if _is_build_tool(path.relative_to(root))),
        *(f"writable for others: {path}" for path, status in files if _others_may_write(status)),
    ]
    user = str(config.get("User", ""))
    if user.split(":", maxsplit=1)[0] in ("", "0", "root"):
        wrong.append(f"it runs as {user or 'root'}")
    if size > LARGEST:
        wrong.append(f"it has {size / 1e6:.0f} MB, more than {LARGEST / 1e6:.0f}")
    if wrong:
        raise CannotRun("the image is not as it should be: " + "; ".join(wrong[:10]))
    return [f"{size / 1e6:.0f} MB in {len(files):,} files, no build tools, user {user}"]


def _files(root: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for folder, _, names in os.walk(root):
        for name in names:
            path = Path(folder, name)
            yield path, path.lstat()


def _is_build_tool(path: Path) -> bool:
    if path.parent.name in ("bin", "sbin"):
        return path.name in _BUILD_TOOLS
    return (
        path.name in ("METADATA", "__init__.py")
        and path.parent.name.split("-")[0] in _BUILD_PACKAGES
        and (path.parent.parent.name in ("site-packages", "dist-packages"))
    )


def _others_may_write(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & stat.S_IWOTH)
