"""The folders of PostgreSQL and RabbitMQ on this machine. Standard library only."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

OLDEST_POSTGRES = 15
OLDEST_RABBITMQ = (3, 10)


@dataclass(frozen=True)
class Postgres:
    """A folder with postgres and initdb."""

    folder: Path
    major: int


@dataclass(frozen=True)
class RabbitMQ:
    """RabbitMQ's own start script, which switches no user, and its version."""

    script: Path
    version: tuple[int, ...]


def search_path() -> list[Path]:
    """PATH, and the folders of administrators' programs that an ordinary user's PATH may lack."""
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    return [Path(e) for e in [*entries, "/usr/local/sbin", "/usr/sbin", "/sbin"] if e]


def postgres_folders() -> Iterator[Path]:
    """Where distributions put PostgreSQL's programs, then PATH."""
    yield from Path("/usr/lib/postgresql").glob("*/bin")
    for brew in ("/opt/homebrew/opt", "/usr/local/opt", "/home/linuxbrew/.linuxbrew/opt"):
        yield from Path(brew).glob("postgresql@*/bin")
    yield from search_path()


def find_postgres(folders: Iterable[Path] | None = None, *, major: int | None = None) -> Postgres | None:
    """The newest PostgreSQL that is new enough, or the one of the given major version."""
    found = []
    for folder in postgres_folders() if folders is None else folders:
        if all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
            server = Postgres(folder, _postgres_major(folder / "postgres"))
            if server.major >= OLDEST_POSTGRES and major in (None, server.major):
                found.append(server)
    return max(found, key=lambda server: server.major, default=None)


def _postgres_major(program: Path) -> int:
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    match = re.search(r"(\d+)", said)
    return int(match[1]) if match else 0


def rabbitmq_folders() -> Iterator[Path]:
    """Where distributions put RabbitMQ's own scripts, then PATH."""
    yield from Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin")
    yield from search_path()
    yield from (Path(brew) for brew in ("/opt/homebrew/sbin", "/home/linuxbrew/.linuxbrew/sbin"))


def find_rabbitmq(folders: Iterable[Path] | None = None) -> RabbitMQ | None:
    """The newest RabbitMQ that is new enough.

    A rabbitmq-server without rabbitmq-env beside it is a distribution's wrapper around the real one: it
    changes the user and the data folder, and is passed over.
    """
    found = []
    for folder in rabbitmq_folders() if folders is None else folders:
        script = (folder / "rabbitmq-server").resolve()
        if os.access(script, os.X_OK) and (script.parent / "rabbitmq-env").exists():
            server = RabbitMQ(script, _rabbitmq_version(script.parent.parent))
            if server.version >= OLDEST_RABBITMQ:
                found.append(server)
    if not found or not shutil.which("erl", path=os.pathsep.join(map(str, search_path()))):
        return None
    return max(found, key=lambda server: server.version)


def _rabbitmq_version(home: Path) -> tuple[int, ...]:
    names = [plugin.name for plugin in (home / "plugins").glob("rabbit-[0-9]*")]
    match = re.search(r"rabbit-(\d+)\.(\d+)", " ".join(names)) or re.search(r"(\d+)\.(\d+)", home.name)
    return (int(match[1]), int(match[2])) if match else ()
