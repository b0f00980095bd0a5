"""A gateway in a process of its own, and a teacher who uses the client."""

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace

import asyncpg
import pytest

from service.runtime.settings import Settings
from tests.support.commands import OnTerminal, Outcome, clarion
from tests.support.processes import Installation, installation
from tests.support.school import School

SERVERS = ("CLARION_DATABASE_URL", "CLARION_AMQP_URL")


@dataclass(frozen=True)
class Person:
    """Who runs the client's commands, without a word of the servers behind the service."""

    settings: Settings
    url: str
    token: str

    def at(self, url: str) -> "Person":
        """The same at another address."""
        return replace(self, url=url)

    async def __call__(self, *arguments: str, stdin: bytes = b"", fresh: bool = False, **variables: str) -> Outcome:
        """Runs a command to its end."""
        known = {"CLARION_URL": self.url, "CLARION_TOKEN": self.token} | variables
        return await clarion(self.settings, *arguments, stdin=stdin, fresh=fresh, without=SERVERS, **known)

    async def on_terminal(self, *arguments: str, **variables: str) -> OnTerminal:
        """Begins a command on a terminal."""
        command = OnTerminal(
            self.settings, *arguments, CLARION_URL=self.url, CLARION_TOKEN=self.token, TZ="Asia/Tokyo", **variables
        )
        await command.start()
        return command


@pytest.fixture
async def running(settings: Settings) -> AsyncIterator[Installation]:
    """A gateway and no worker, so that nothing moves but what the test moves; small chunks, an eager sweeper."""
    small = settings.model_copy(update={"chunk_size": 20, "sweep_interval": 0.2, "retry_after": 2.0})
    async with installation(small) as made:
        await made.api()
        yield made


@pytest.fixture
async def teacher(running: Installation, school: School, conn: asyncpg.Connection) -> Person:
    """The teacher of the school's course."""
    return await a_teacher(running, school, conn)


async def a_teacher(running: Installation, school: School, conn: asyncpg.Connection) -> Person:
    """The same before another installation."""
    token = f"token-of-{school.teacher}"
    await conn.execute(
        "INSERT INTO access_tokens (token_hash, user_id) VALUES ($1, $2)",
        hashlib.sha256(token.encode()).digest(),
        school.teacher,
    )
    return Person(running.settings, running.url, token)


@pytest.fixture
def to_course(school: School) -> list[str]:
    """A message to each in the course."""
    return ["send", "--course", str(school.course), "--subject", "Welcome", "--body", "Hello", "--bulk"]


@pytest.fixture
async def batch(teacher: Person, to_course: list[str]) -> str:
    """The id of a batch that the teacher has sent."""
    sent = await teacher(*to_course)
    assert sent.code == 0, sent.err
    return sent.out.removeprefix("batch: ").strip()
