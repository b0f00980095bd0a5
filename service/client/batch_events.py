"""A batch as it moves: from its event stream, and from requests where a proxy does not let that pass."""

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from dataclasses import dataclass

import aiohttp
import orjson
from sseclient import Event, SSEClient

from service.client.batches import Batch, show_batch
from service.client.http import Client

_PATIENCE = 300.0  # seconds, in which the service may be away before one stops watching


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds: between two requests, and at least and at most between two attempts at the stream; until a stream is
    taken for cut of which nothing comes at first, and later not even a heartbeat (CONTRACT 3.1: every 15 s)."""

    poll: float = 1.0
    longest: float = 60.0
    first: float = 5.0
    silence: float = 30.0


async def watch_batch(client: Client, batch_id: int, pace: Pace | None = None) -> AsyncGenerator[Batch, None]:
    """The batch as it is, and at each change, until it is finished. RequestFailed for a refusal or a long absence.

    A stream that ends is opened again with the id of its last event. One that shows no change is not worth much: then
    the batch is asked for instead, and the stream is tried again, more and more rarely.
    """
    pace = pace or Pace()
    loop = asyncio.get_running_loop()
    stream = _Stream(client, batch_id, pace)
    wait, due = pace.poll, loop.time()
    while True:
        batch = await show_batch(client, batch_id, patience=_PATIENCE)
        yield batch
        if batch.finished:
            return
        if loop.time() >= due:
            changes = -1  # the first event shows what is known
            async with aclosing(stream.batches()) as shown:
                async for batch in shown:
                    changes += 1
                    yield batch
                    if batch.finished:
                        return
            wait = pace.poll if changes > 0 else min(wait * 2, pace.longest)
            due = loop.time() + wait
        # Not all clients whose stream has ended at once come back at once.
        await asyncio.sleep(pace.poll * (1 + secrets.randbelow(1000) / 2000))


class _Stream:
    """The event stream of a batch, which remembers where it was cut."""

    def __init__(self, client: Client, batch_id: int, pace: Pace) -> None:
        self._client = client
        self._path = f"/batches/{batch_id}/events"
        self._pace = pace
        self._last = ""

    async def batches(self) -> AsyncGenerator[Batch, None]:
        """Until the stream ends, in order or not."""
        headers = {"Last-Event-ID": self._last} if self._last else {}
        opened = self._client.opened(
            self._path, accept="text/event-stream", silence=self._pace.silence, headers=headers
        )
        try:
            async with AsyncExitStack() as stack:
                async with asyncio.timeout(self._pace.first):
                    response = await stack.enter_async_context(opened)
                    line = await response.content.readline()
                if response.content_type != "text/event-stream":
                    return
                async for event in _events(line, response.content):
                    self._last = event.id or self._last
                    yield Batch.read(orjson.loads(event.data))
        except (aiohttp.ClientError, TimeoutError, ValueError):  # the last for what is no JSON, and for endless lines
            return


async def _events(line: bytes, following: aiohttp.StreamReader) -> AsyncIterator[Event]:
    block = b""
    while line:
        block += line
        if not line.strip():
            for event in SSEClient(iter([block])).events():
                yield event
            block = b""
        line = await following.readline()
