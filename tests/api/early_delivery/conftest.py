"""A send to a course that waits, since no worker runs, and readers with time."""

from datetime import timedelta
from typing import Any

import aiohttp
import asyncpg
import pytest

from service.api import early_delivery as waits
from service.application.messages import early_delivery as locks
from service.runtime.settings import Settings
from tests.support.early_delivery import Read, SendToAll, Token
from tests.support.http_calls import call
from tests.support.school import School
from tests.support.waiting import PATIENCE


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, a reader waits for what can be delivered."""
    monkeypatch.setattr(waits, "PATIENCE", 2 * PATIENCE)
    monkeypatch.setattr(locks, "LONGEST_WAIT", timedelta(seconds=PATIENCE))


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Small chunks, and time."""
    return settings.model_copy(
        update={
            "chunk_size": 100,
            "request_timeout": 8 * PATIENCE,
            "throttle_maximum": 0,
            "max_bulk_private_recipients": 1000,
        }
    )


@pytest.fixture
def send(client: aiohttp.ClientSession, school: School, token: Token, conn: asyncpg.Connection) -> SendToAll:
    """The teacher writes to the whole course, and no worker runs; returns the batch's id."""

    async def post(subject: str = "Hello", **parts: Any) -> int:
        sent = {
            "recipients": [f"course_{school.course}_students"],
            "subject": subject,
            "body": subject,
            "mode": "async",
            "group_conversation": True,
            "bulk_message": True,
            **parts,
        }
        await call(client, await token(school.teacher), "POST", "/conversations", status=202, json=sent)
        return int(await conn.fetchval("SELECT max(id) FROM batches"))

    return post


@pytest.fixture
def unread(client: aiohttp.ClientSession, token: Token) -> Read:
    """How many unread conversations a user has, asked as the user."""

    async def ask(user: int) -> str:
        return str((await call(client, await token(user), "GET", "/conversations/unread_count"))["unread_count"])

    return ask
