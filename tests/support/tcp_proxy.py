"""A proxy between a client and a server that can fall silent, as a host does that has lost its power, or break what
passes through it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager


class TcpProxy:
    """Passes bytes on in both directions while it is not paused. ``port`` is on the loopback.

    ``asked``: all that clients have sent. Of the next ``lost`` answers the connection ends instead, and of each request
    that has the bytes ``refused``.
    """

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._going = asyncio.Event()
        self._going.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._accepted = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()
        self._stopping = False
        self.port = 0
        self.asked = b""
        self.lost = 0
        self.refused: bytes | None = None

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
        self._accepted.clear()
        self._going.clear()

    def go_on(self) -> None:
        """What was held back arrives."""
        self._going.set()

    async def accepted(self) -> None:
        """Returns with the next connection, or the first one since the pause."""
        await self._accepted.wait()
        self._accepted.clear()

    def cut(self) -> None:
        """Every open connection breaks."""
        for writer in self._open:
            writer.transport.abort()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted.set()
        self._begin(self._connect(reader, writer))

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._going.wait()
            if self._stopping:
                writer.close()
                return
            there, back = await asyncio.open_connection(*self._target)
        except BaseException:
            writer.close()
            raise
        self._begin(self._pass(reader, back, self._breaks_request))
        self._begin(self._pass(there, writer, self._breaks_answer))

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _breaks_request(self, data: bytes) -> bool:
        self.asked += data
        return self.refused is not None and self.refused in data

    def _breaks_answer(self, _data: bytes) -> bool:
        broken = self.lost > 0
        self.lost -= broken
        return broken

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, breaks: Callable[[bytes], bool]
    ) -> None:
        self._open.add(writer)
        try:
            while data := await reader.read(65_536):
                await self._going.wait()
                if breaks(data):
                    return
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self._open.discard(writer)
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
