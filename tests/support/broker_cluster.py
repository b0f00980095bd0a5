"""A RabbitMQ cluster of three nodes on this machine, with a port mapper of its own."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from deploy.ports import free_port
from deploy.rabbitmq import PrivateRabbitMQ
from tests.support.private_servers import PASSWORD, QUEUE_PROCESS, evaluate, kill, open_folder
from tests.support.waiting import listens, until

SIZE = 3
_TICK = 4  # seconds; a node that is silent for so long, and a quarter more, is taken for one that is away


class Node(PrivateRabbitMQ):
    """One of them; all know the same names, the same cookie and the first one's port mapper."""

    def __init__(self, folder: Path, number: int, mapper: int, cookie: str) -> None:
        super().__init__(folder, PASSWORD)
        self.name_in_cluster = f"clarion{number}@127.0.0.1"
        self._mapper = mapper
        self._cookie = cookie
        self._owns_mapper = number == 0

    def _configure(self, port: int) -> None:
        super()._configure(port)
        # The first founds the cluster and knows of no others: that of RabbitMQ 4 would wait for them before it runs.
        known = sorted({"clarion0@127.0.0.1", self.name_in_cluster})
        lines = ["cluster_formation.peer_discovery_backend = classic_config"]
        lines += [f"cluster_formation.classic_config.nodes.{number} = {name}" for number, name in enumerate(known, 1)]
        lines += ["cluster_partition_handling = pause_minority", f"net_ticktime = {_TICK}"]
        with (self.home / "rabbitmq.conf").open("a", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        cookie = self.home / ".erlang.cookie"
        if not cookie.exists():
            cookie.touch(mode=0o600)
            cookie.write_text(self._cookie, "ascii")

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {
            "ERL_EPMD_PORT": str(self._mapper),
            "RABBITMQ_NODENAME": self.name_in_cluster,
        }

    def _start_epmd(self, environment: dict[str, str]) -> None:
        if self._owns_mapper and not self._epmd.alive():
            super()._start_epmd(environment)

    @property
    def runs(self) -> bool:
        """Whether its process does."""
        return self.process.alive()


class Cluster:
    """``nodes`` in the order in which ``urls`` names them."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = nodes

    @property
    def urls(self) -> str:
        """CLARION_AMQP_URL."""
        return ",".join(node.url for node in self.nodes)

    async def start(self) -> None:
        """All of them, each a member."""
        await self.nodes[0].ensure()
        await asyncio.gather(*(node.ensure() for node in self.nodes[1:]))
        await self.complete()

    async def complete(self) -> None:
        """Returns when every node sees all the others."""

        async def is_whole() -> bool:
            running = "length([N || N <- [node() | nodes()], rabbit:is_running(N)])"
            return await evaluate(self.nodes[0], running) == str(SIZE)

        await until(is_whole)

    async def leader(self, queue: str) -> Node:
        """The node that has the leader of a quorum queue, as one that runs sees it."""
        asked = next(node for node in self.nodes if node.runs)
        found = await evaluate(asked, f"element(2, {QUEUE_PROCESS.format(name=queue)})")
        return next(node for node in self.nodes if node.name_in_cluster == found.strip("'"))

    async def part(self, node: Node) -> None:
        """Cuts the node off from the others, which refuse it, until ``join``; returns when it takes no more clients.

        A process of its own does that there: a node that pauses would leave who asked without an answer.
        """
        others = ", ".join(f"'{other.name_in_cluster}'" for other in self.nodes if other is not node)
        cut = "erlang:set_cookie(N, parted), erlang:disconnect_node(N)"
        await evaluate(node, f"spawn(fun() -> lists:foreach(fun(N) -> {cut} end, [{others}]) end)")

        async def is_paused() -> bool:
            return not await listens(node.process.facts()["port"])

        await until(is_paused)

    async def join(self, node: Node) -> None:
        """The node is let in again."""
        others = ", ".join(f"'{other.name_in_cluster}'" for other in self.nodes if other is not node)
        cookie = node.home.joinpath(".erlang.cookie").read_text("ascii")
        await evaluate(node, f"lists:foreach(fun(N) -> erlang:set_cookie(N, '{cookie}') end, [{others}])")


@asynccontextmanager
async def broker_cluster() -> AsyncIterator[Cluster]:
    """Three nodes run."""
    mapper, cookie = free_port(), secrets.token_hex(10)
    async with AsyncExitStack() as stack:
        folders = [stack.enter_context(open_folder()) for _ in range(SIZE)]
        nodes = [Node(Path(folder), number, mapper, cookie) for number, folder in enumerate(folders)]
        try:
            cluster = Cluster(nodes)
            await cluster.start()
            yield cluster
        finally:
            for node in reversed(nodes):
                if node.runs:
                    await kill(node)
                await asyncio.to_thread(node.stop)
