"""The checkout's private PostgreSQL: data under .clarion/, a free loopback port, default durability."""

import asyncio
import hashlib
import locale
import os
import shutil
import signal
import subprocess
from pathlib import Path

import asyncpg

from deploy.account import Account, server_account
from deploy.binaries import Postgres, find_postgres
from deploy.failure import CannotRun
from deploy.ports import reserved_port
from deploy.processes import Process, last_line

_ROLE = _DATABASE = "clarion"
_START_TIMEOUT = 120.0  # seconds; recovery after a crash reads up to max_wal_size
_OUTSIDE = Path("/var/lib")


class PrivatePostgres:
    """One server per checkout; ``url`` is set once it runs."""

    name = "PostgreSQL"

    def __init__(self, state: Path, password: str) -> None:
        self._home = state / "postgres"
        self._password = password
        self.log = state / "postgres.log"
        self.process = Process(state / "postgres.json")

    @property
    def url(self) -> str:
        """DSN of the checkout's database."""
        return self._url(_DATABASE)

    def _url(self, database: str) -> str:
        port = self.process.facts()["port"]
        return f"postgresql://{_ROLE}:{self._password}@127.0.0.1:{port}/{database}"

    async def ensure(self) -> None:
        """Use the server that runs already, or start it; the database exists afterwards."""
        if self.process.alive() and not await self._answers(patience=10):
            self.stop()
        if not self.process.alive():
            await self._start()
        await self._create_database()

    def running(self) -> bool:
        """Whether there is anything to stop."""
        return self.process.alive()

    def stop(self) -> None:
        """Fast shut-down; without one, immediate; without one, kill."""
        self.process.stop((signal.SIGINT, 60), (signal.SIGQUIT, 10), (signal.SIGKILL, 10))

    async def _start(self) -> None:
        account = server_account()
        home = self._place(account)
        data = home / "data"
        server = _server_for(data)
        if not data.exists():
            self._initialise(server, home, account)
        # It is known not to run; the process id in the file may belong to another process by now.
        (data / "postmaster.pid").unlink(missing_ok=True)
        with reserved_port(self.process.facts().get("port")) as port:
            command = [str(server.folder / "postgres"), "-D", str(data), "-p", str(port), *_options()]
            self.log.unlink(missing_ok=True)
            self.process.start(
                command, log=self.log, environment=_environment(), facts={"port": port}, account=account, folder=home
            )
            answers = await self._answers(patience=_START_TIMEOUT)
        if not answers:
            self.stop()
            raise CannotRun(f"the private PostgreSQL did not start: {last_line(self.log)} (all of it: {self.log})")

    def _place(self, account: Account | None) -> Path:
        """The server's folder, made when missing and reachable for the account that runs the server.

        A checkout may lie where only root may look. Then the data is kept outside, under the name of the
        checkout's path, and .clarion/postgres leads there.
        """
        if account is None:
            self._home.mkdir(mode=0o700, exist_ok=True)
            return self._home
        if account.may_enter(self._home.parent):
            home = self._home
            if home.is_symlink():
                home.unlink()
        else:
            home = _OUTSIDE / f"clarion-{hashlib.sha256(os.fsencode(self._home.absolute())).hexdigest()[:12]}"
            if self._home.is_symlink() and self._home.readlink() != home:
                self._home.unlink()
            if not self._home.is_symlink():
                self._home.symlink_to(home)
        home.mkdir(mode=0o700, exist_ok=True)
        os.chown(home, account.uid, account.gid)
        return home

    def _initialise(self, server: Postgres, home: Path, account: Account | None) -> None:
        """A cluster whose only role has the checkout's password; complete, or not there."""
        new, secret = home / "data.new", home / "secret"
        shutil.rmtree(new, ignore_errors=True)
        secret.touch(mode=0o600)
        secret.write_text(self._password, "utf-8")
        if account is not None:
            os.chown(secret, account.uid, account.gid)
        try:
            _initdb(server, new, secret, account)
        finally:
            secret.unlink()
        new.rename(home / "data")

    async def _answers(self, *, patience: float) -> bool:
        """Whether the server answers queries within so many seconds; False at once when its process ends."""
        deadline = asyncio.get_running_loop().time() + patience
        while self.process.alive() and asyncio.get_running_loop().time() < deadline:
            try:
                conn = await asyncpg.connect(self._url("postgres"), timeout=5)
            except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                await asyncio.sleep(0.05)
            else:
                await conn.close()
                return True
        return False

    async def _create_database(self) -> None:
        conn = await asyncpg.connect(self._url("postgres"), timeout=10)
        try:
            if not await conn.fetchval("SELECT 1 FROM pg_database WHERE datname = $1", _DATABASE):
                await conn.execute(f"CREATE DATABASE {_DATABASE}")
        finally:
            await conn.close()


def _server_for(data: Path) -> Postgres:
    version = data / "PG_VERSION"
    major = int(version.read_text("ascii")) if version.exists() else None
    server = find_postgres(major=major)
    if server is None:
        raise CannotRun(f"{data} belongs to PostgreSQL {major}, which is not installed; install it, or remove .clarion")
    return server


def _initdb(server: Postgres, data: Path, secret: Path, account: Account | None) -> None:
    command = [server.folder / "initdb", "-D", data, "-U", _ROLE, "--pwfile", secret, "--locale", _locale()]
    done = subprocess.run(
        [*map(str, command), "--auth", "scram-sha-256", "--encoding", "UTF8"],
        capture_output=True,
        text=True,
        check=False,
        cwd=data.parent,
        env=_environment(),
        **(account.identity() if account else {}),
    )
    if done.returncode:
        raise CannotRun(f"initdb failed: {(done.stderr.strip() or done.stdout.strip()).splitlines()[-1]}")


def _locale() -> str:
    """Unicode rules where the machine has them, in the same order everywhere."""
    before = locale.setlocale(locale.LC_CTYPE)
    try:
        locale.setlocale(locale.LC_CTYPE, "C.UTF-8")
    except locale.Error:
        return "C"
    finally:
        locale.setlocale(locale.LC_CTYPE, before)
    return "C.UTF-8"


def _environment() -> dict[str, str]:
    """Nothing of the caller's but the path: PGDATA, PGPORT and the like must not lead elsewhere."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": _locale(), "TZ": "UTC"}


def _options() -> list[str]:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",  # a checkout's path may be longer than a socket's may be
        "max_connections": "300",
        "shared_buffers": f"{max(64, min(512, memory // 8))}MB",
        "max_wal_size": "8GB",
        "checkpoint_timeout": "30min",
        "wal_compression": "lz4",
    }
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
