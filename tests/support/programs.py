"""Programs that tests run: packages of the environment, and those of the machine that they can do without."""

import asyncio
import sys
from pathlib import Path

import pytest

from deploy.binaries import postgres_folders
from deploy.packages import OF_TESTS, find_program


def machine_program(name: str) -> Path:
    """One of deploy/packages.py, OF_TESTS; where it is not there, the test that asks for it is skipped."""
    found, need = find_program(name), OF_TESTS[name]
    if found is None:
        pytest.skip(f"{need.what} is not here (Debian: {need.apt})")
    return found


async def run_postgres_program(name: str, *arguments: str) -> None:
    """Runs one of PostgreSQL's own programs, of the newest version that is here, to its good end."""
    found = [folder / name for folder in postgres_folders() if (folder / name).exists()]
    if not found:
        pytest.skip(f"{name} is not here (Debian: postgresql-client), so no backup is made")
    newest = max(found, key=lambda path: [int(part) for part in path.parts if part.isdigit()])
    process = await asyncio.create_subprocess_exec(
        newest, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()


def program(name: str) -> str:
    """Its path in this environment, whether that is on PATH or not."""
    return str(Path(sys.executable).with_name(name))
