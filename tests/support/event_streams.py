"""A client of the event streams of batches."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import orjson

from tests.support.waiting import PATIENCE


class Event(NamedTuple):
    """One event. ``data``: its bytes, which are JSON."""

    name: str
    id: str
    data: bytes

    @property
    def batch(self) -> dict[str, Any]:
        """The batch that it shows."""
        found: dict[str, Any] = orjson.loads(self.data)
        return found


class EventStream:
    """What came so far in ``comments``; ``retry``: milliseconds that the server asked to wait, or None."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response
        self.comments: list[str] = []
        self.retry: int | None = None

    async def next(self) -> Event | None:
        """The next event; None when the stream has ended in order."""
        fields: dict[str, bytes] = {}
        async with asyncio.timeout(PATIENCE):
            async for line in self.response.content:
                name, _, value = line.removesuffix(b"\n").partition(b": ")
                if name == b"" and value:
                    self.comments.append(value.decode())
                elif name == b"retry":
                    self.retry = int(value)
                elif name:
                    fields[name.decode()] = value
                elif fields:
                    return Event(fields["event"].decode(), fields["id"].decode(), fields["data"])
        return None

    async def until(self, **values: Any) -> Event:
        """The first event whose batch has these values."""
        while event := await self.next():
            if values.items() <= event.batch.items():
                return event
        raise AssertionError(f"the stream has ended without {values}")

    async def rest(self) -> list[Event]:
        """All events until the stream ends."""
        found = []
        while event := await self.next():
            found.append(event)
        return found

    async def heartbeat(self) -> None:
        """Returns when a comment comes."""
        async with asyncio.timeout(PATIENCE):
            while not (await self.response.content.readline()).startswith(b":"):
                pass


@asynccontextmanager
async def event_stream(
    session: aiohttp.ClientSession,
    headers: Mapping[str, str],
    batch_id: int | str,
    *,
    base: str = "",
    last: str | None = None,
    **parameters: str,
) -> AsyncIterator[EventStream]:
    """The open stream of a batch. ``last``: the id of the event that was seen last."""
    more = {} if last is None else {"Last-Event-ID": last}
    async with session.get(
        f"{base}/api/v1/conversations/batches/{batch_id}/events",
        headers={**headers, **more},
        params=parameters,
        timeout=aiohttp.ClientTimeout(),
    ) as response:
        assert response.status == 200, await response.text()
        assert response.content_type == "text/event-stream"
        yield EventStream(response)
