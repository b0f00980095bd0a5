"""A small institution with its API and one worker, as real processes."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import asyncpg
import pytest

from service.runtime.settings import Settings
from tests.support.processes import Client, Installation, installation


@pytest.fixture
def road_settings(settings: Settings) -> Settings:
    """Small chunks and an eager sweeper."""
    return settings.model_copy(update={"chunk_size": 20, "sweep_interval": 0.2, "retry_after": 2.0})


@pytest.fixture
async def running(road_settings: Settings) -> AsyncIterator[Installation]:
    """Nothing started yet; all of it is stopped afterwards."""
    async with installation(road_settings) as made:
        yield made


@pytest.fixture
async def as_user(conn: asyncpg.Connection, running: Installation) -> AsyncIterator[Callable[[int], Awaitable[Client]]]:
    """A client of the running API, with a fresh token, for any user."""
    async with aiohttp.ClientSession() as session:

        async def make(user_id: int) -> Client:
            token = f"token-of-{user_id}"
            await conn.execute(
                "INSERT INTO access_tokens (token_hash, user_id) VALUES ($1, $2) ON CONFLICT DO NOTHING",
                hashlib.sha256(token.encode()).digest(),
                user_id,
            )
            return Client(session, running.url, token)

        yield make
