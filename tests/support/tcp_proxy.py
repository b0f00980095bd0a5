"""A proxy between a client and a server that can fall silent, as a host does that has lost its power."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class TcpProxy:
    """Passes bytes on in both directions while it is not paused. ``port`` is on the loopback."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._going = asyncio.Event()
        self._going.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._stopping = False
        self.port = 0

    async def start(self) -> None:
        """Listens on a free port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Ends every connection."""
        assert self._server is not None
        self._server.close()
        self._stopping = True
        self._going.set()  # for who has come while it was paused
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def pause(self) -> None:
        """From now on nothing arrives, and no connection ends either."""
        self._going.clear()

    def go_on(self) -> None:
        """What was held back arrives."""
        self._going.set()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._going.wait()
        if self._stopping:
            writer.close()
            return
        there, back = await asyncio.open_connection(*self._target)
        for one, other in ((reader, back), (there, writer)):
            task = asyncio.create_task(self._pass(one, other))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._going.wait()
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def tcp_proxy(host: str, port: int) -> AsyncIterator[TcpProxy]:
    """A proxy before that address."""
    made = TcpProxy(host, port)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
