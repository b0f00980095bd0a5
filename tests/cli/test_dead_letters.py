"""``clarion dead`` as an operator runs it, on the queue of a real broker (CONTRACT 2 and 4)."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

import asyncpg
import pytest
from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue, HeadersType
from typer.testing import CliRunner

from service.cli import app
from service.contracts.commands import DeliverChunk
from service.contracts.topology import DELIVERY_LIMIT, Topology
from service.runtime.dead_letters.queue import browse
from service.runtime.dead_letters.requeue import AT_ONCE
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql import chunks
from tests.support.batches import Batches
from tests.support.broker import BrokerClient, broker_client
from tests.support.commands import Outcome, clarion
from tests.support.waiting import until
from workers.consumer import Consumer
from workers.dead_letter import Refused, publish_dead_letters
from workers.deliver import Deliverer
from workers.outcome import Done
from workers.outcome import Outcome as Handled

MANY_LOOKS = 60  # more than any limit on the deliveries of a command


class Graveyard:
    """An installation's broker, its dead letters, and the command that an operator has for them."""

    def __init__(self, settings: Settings, outside: BrokerClient, publisher: Publisher) -> None:
        self.settings = settings
        self.outside = outside
        self.publisher = publisher
        self.topology: Topology = outside.topology

    async def put(self, body: bytes, headers: dict[str, Any] | None = None, **properties: Any) -> None:
        """A letter with these headers, as if another program had put it away."""
        exchange = await self.outside.channel.get_exchange(self.topology.dead, ensure=False)
        message = Message(body, headers=headers, delivery_mode=DeliveryMode.PERSISTENT, **properties)
        await exchange.publish(message, "any")

    async def poison(self, body: bytes = b"poison") -> None:
        """A command that cannot be understood, put away by a real consumer."""
        await self.outside.publish(body)
        async with self.consuming(_nothing):
            await self.outside.waiting_in(self.topology.dead, 1)

    @asynccontextmanager
    async def consuming(self, handle: Callable[[DeliverChunk], Awaitable[Handled]]) -> AsyncIterator[None]:
        """Meanwhile commands are handled, or put away."""
        consumer = Consumer(self.settings, DeliverChunk, handle, self.publisher)
        await consumer.start()
        await until(lambda: consumer.broker.connected)
        yield
        await consumer.drain()

    async def listed(self) -> list[dict[str, Any]]:
        """What ``clarion dead list --json`` says."""
        done = await clarion(self.settings, "dead", "list", "--json")
        assert (done.code, done.err) == (0, "")
        return [json.loads(line) for line in done.out.splitlines()]

    async def run(self, *arguments: str) -> Outcome:
        """``clarion dead`` with these arguments."""
        return await clarion(self.settings, "dead", *arguments)

    async def taken(self, queue: str) -> AbstractIncomingMessage:
        """The next message of a queue, taken off it."""
        found = await self.outside.channel.get_queue(queue, ensure=False)
        message = await found.get(no_ack=True)
        assert message is not None
        return message

    async def bodies(self, queue: str) -> list[bytes]:
        """All bodies of a queue in their order, taken off it."""
        found = await self.outside.channel.declare_queue(queue, passive=True)
        waiting = found.declaration_result.message_count or 0
        bodies: list[bytes] = []
        async with found.iterator(no_ack=True) as messages:
            while len(bodies) < waiting:
                bodies.append((await anext(messages)).body)
        return bodies


async def _nothing(command: DeliverChunk) -> Handled:
    raise AssertionError(command)


@pytest.fixture
async def dead(settings: Settings) -> AsyncIterator[Graveyard]:
    """Everything is declared, and gone in the end."""
    publisher = Publisher(settings, "test")
    await publisher.broker.start()
    await until(lambda: publisher.connected)
    async with broker_client(settings) as outside:
        yield Graveyard(settings, outside, publisher)
        await outside.delete_topology()
    await publisher.broker.stop()


async def test_a_letter_is_listed_with_all_that_is_known_of_it(dead: Graveyard) -> None:
    assert await dead.run("list") == (0, "", "")
    await dead.poison()

    (letter,) = await dead.listed()
    done = await dead.run("list")

    first = datetime.fromisoformat(letter["first_time"])
    assert (letter["source"], letter["attempts"], letter["bytes"]) == (dead.topology.command_queue("deliver"), 1, 6)
    assert first == datetime.fromisoformat(letter["last_time"])
    assert first.utcoffset() is not None
    assert "is no JSON" in letter["reason"]
    shown = "  ".join(str(letter[name]) for name in ("id", "source", "first_time", "last_time", "attempts", "reason"))
    assert done == (0, shown + "\n", "")


async def test_a_letter_is_shown_whole(dead: Graveyard) -> None:
    await dead.put(b'{"name":\n\n"Zo\xc3\xab"}', {"reason": "one\ntwo \x1b[2J", "mine": 7}, correlation_id="c-1")
    (letter,) = await dead.listed()

    done = await dead.run("show", letter["id"])

    said, _, body = done.out.partition("\n\n")
    assert (done.code, body) == (0, '{"name":\n\n"Zoë"}')
    assert {f"id: {letter['id']}", "header mine: 7", "correlation_id: c-1"} <= set(said.splitlines())
    assert "reason: one\\ntwo \\x1b[2J" in said.splitlines()
    assert await dead.listed() == [letter]


async def test_thousands_are_listed_in_order_and_stay_as_they_were(dead: Graveyard) -> None:
    """More than one consumer may hold, so that a look needs several."""
    bodies = [str(number).encode() for number in range(4500)]
    for start in range(0, len(bodies), 500):
        part = bodies[start : start + 500]
        await asyncio.gather(*(dead.put(body, {"reason": "test", "source": body.decode()}) for body in part))

    order = [letter["source"].encode() for letter in await dead.listed()]
    again = [letter["source"].encode() for letter in await dead.listed()]

    assert sorted(order) == sorted(bodies)
    assert again == order
    assert await dead.bodies(dead.topology.dead) == order


async def test_letters_stay_however_often_they_are_looked_at(dead: Graveyard) -> None:
    """Each look is one more delivery, and a quorum queue may have a limit: RabbitMQ 4 has one of 20 by itself."""
    for number in range(3):
        await dead.put(str(number).encode(), {"reason": "test", "source": dead.topology.directory})
    before = await dead.listed()

    for _ in range(MANY_LOOKS):
        async with browse(dead.settings) as browser:
            assert [found.letter.id async for found in browser.letters()] == [letter["id"] for letter in before]

    message = await dead.taken(dead.topology.dead)
    assert (message.body, message.headers["x-delivery-count"]) == (b"0", 1 + MANY_LOOKS)
    assert await dead.listed() == before[1:]
    assert await dead.run("requeue", "--all") == (0, "2 requeued\n", "")
    assert (await dead.taken(dead.topology.directory)).headers["attempts"] == 1


async def test_a_requeued_letter_that_dies_again_remembers_its_first_death(dead: Graveyard) -> None:
    await dead.poison()
    (before,) = await dead.listed()

    assert await dead.run("requeue", before["id"]) == (0, "1 requeued\n", "")
    await dead.outside.waiting("deliver", 1)
    assert await dead.listed() == []
    async with dead.consuming(_nothing):
        await dead.outside.waiting_in(dead.topology.dead, 1)

    (after,) = await dead.listed()
    assert (after["attempts"], after["first_time"]) == (2, before["first_time"])
    assert datetime.fromisoformat(after["last_time"]) > datetime.fromisoformat(before["last_time"])
    assert after["id"] != before["id"]
    assert after["reason"] == before["reason"]


async def test_a_requeued_letter_succeeds_once_its_fault_is_mended(
    dead: Graveyard, conn: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    """A command that came before its chunk, here; the service itself never does that."""
    next_batch = await conn.fetchval("SELECT nextval(pg_get_serial_sequence('batches', 'id')) + 1")
    command = DeliverChunk(batch_id=next_batch, position=0)
    deliverer = Deliverer(dead.settings, pool)

    await dead.publisher.command(command)
    async with dead.consuming(deliverer.handle):
        await dead.outside.waiting_in(dead.topology.dead, 1)
        assert [letter["reason"] for letter in await dead.listed()] == ["no such chunk"]
        assert await Batches(conn).accept([2, 3], chunk_size=2) == command.batch_id

        assert await dead.run("requeue", "--all") == (0, "1 requeued\n", "")

        await until(partial(_delivered, conn))
    assert await dead.listed() == []


async def test_more_than_are_published_at_once_are_requeued_once_each(dead: Graveyard) -> None:
    queue = dead.topology.command_queue("reply")
    bodies = [f"{number:04}".encode() for number in range(2 * AT_ONCE + 1)]
    await asyncio.gather(*(dead.put(body, {"reason": "test", "source": queue}) for body in bodies))

    assert await dead.run("requeue", "--all") == (0, f"{len(bodies)} requeued\n", "")

    assert sorted(await dead.bodies(queue)) == bodies
    assert await dead.listed() == []


async def _delivered(conn: asyncpg.Connection) -> bool:
    return bool(await conn.fetchval("SELECT state = 'sent' AND delivered = 2 FROM batches"))


@pytest.mark.parametrize(
    ("exchange", "key", "queue"),
    [
        ("commands", "reply", "commands.reply"),
        ("directory", "user_created", "directory"),
        ("requests", "conversation.create", "requests"),
    ],
)
async def test_a_letter_goes_back_as_it_came(dead: Graveyard, exchange: str, key: str, queue: str) -> None:
    """What a receiver may need is kept; an expiry, which would end the letter itself, is not."""
    prefix = dead.settings.amqp_prefix
    entry = await dead.outside.channel.get_exchange(f"{prefix}.{exchange}")
    headers: HeadersType = {"tenant": "north", "nested": {"list": [1, 2.5, True, None, "x"]}, "CC": ["elsewhere"]}
    await entry.publish(
        Message(
            b"body",
            headers=headers,
            expiration=3600,
            reply_to="answers",
            correlation_id="c-1",
            message_id="m-1",
            type="t",
            content_type="application/json",
        ),
        key,
    )
    came = await dead.taken(f"{prefix}.{queue}")
    never = asyncio.Event()
    refused = [Refused(came, "no")]
    assert await publish_dead_letters(dead.publisher, refused, source=f"{prefix}.{queue}", ends=(never,)) == [Done()]

    done = await dead.run("requeue", "--all", "--source", f"{prefix}.{queue}")

    back = await dead.taken(f"{prefix}.{queue}")
    assert (done.code, done.err) == (0, "")
    assert (back.body, back.routing_key, back.exchange, back.expiration) == (b"body", key, f"{prefix}.{exchange}", None)
    assert (back.reply_to, back.correlation_id, back.message_id, back.type) == ("answers", "c-1", "m-1", "t")
    assert {name: back.headers[name] for name in ("tenant", "nested")} == {n: headers[n] for n in ("tenant", "nested")}
    assert back.headers.keys() - {"x-delivery-count"} == {"tenant", "nested", "first_time", "attempts"}


async def test_what_the_broker_put_away_has_a_reason_and_goes_back(dead: Graveyard) -> None:
    """Handed out so often that the broker lost patience: no consumer could give a reason."""
    queue = dead.topology.command_queue("deliver")
    await dead.outside.publish(b"poison")
    waiting = await dead.outside.channel.get_queue(queue, ensure=False)
    for _ in range(DELIVERY_LIMIT + 1):
        await until(partial(_returned, waiting))
    await dead.outside.waiting_in(dead.topology.dead, 1)

    (letter,) = await dead.listed()
    assert (letter["source"], letter["attempts"]) == (queue, 1)
    assert letter["reason"] == "handed out too often: its workers ended without a verdict (broker: delivery_limit)"
    assert datetime.fromisoformat(letter["first_time"]).utcoffset() is not None

    assert (await dead.run("requeue", letter["id"])).out == "1 requeued\n"
    async with dead.consuming(_nothing):
        await dead.outside.waiting_in(dead.topology.dead, 1)
    (after,) = await dead.listed()
    assert (after["attempts"], after["first_time"]) == (2, letter["first_time"])
    assert "is no JSON" in after["reason"]


async def _returned(queue: AbstractQueue) -> bool:
    message = await queue.get(fail=False)
    if message is not None:
        await message.nack(requeue=True)
    return message is not None


async def test_letters_from_nowhere_are_left_and_the_others_go(dead: Graveyard) -> None:
    await dead.put(b"1", {"reason": "from elsewhere", "source": "elsewhere"})
    await dead.put(b"2", {"reason": "old", "source": dead.topology.directory})
    await dead.put(b"3")

    done = await dead.run("requeue", "--all")

    first, third = await dead.listed()
    assert (done.code, done.out) == (1, "1 requeued\n")
    assert done.err == f"clarion: 2 came from no queue of ours and were left, such as {third['id']}\n"
    assert (first["source"], third["source"], third["reason"]) == ("elsewhere", None, "no reason given")
    assert third["first_time"] is None
    assert await dead.bodies(dead.topology.directory) == [b"2"]


async def test_letters_are_dropped_by_id_and_by_source(dead: Graveyard) -> None:
    for number in range(6):
        await dead.put(str(number).encode(), {"reason": "test", "source": "odd" if number % 2 else "even"})
    ids = [letter["id"] for letter in await dead.listed()]

    assert await dead.run("drop", ids[2], ids[5]) == (0, "2 dropped\n", "")
    assert await dead.run("drop", "--all", "--source", "odd") == (0, "2 dropped\n", "")

    assert [letter["id"] for letter in await dead.listed()] == [ids[0], ids[4]]
    assert await dead.run("drop", ids[0], "nonsense") == (
        1,
        "1 dropped\n",
        "clarion: there is no dead letter nonsense\n",
    )
    assert await dead.bodies(dead.topology.dead) == [b"4"]


async def given_up(conn: asyncpg.Connection) -> DeliverChunk:
    """A chunk after its last attempt."""
    command = DeliverChunk(batch_id=await Batches(conn).accept([2, 3], chunk_size=2), position=0)
    await chunks.fail_chunk(conn, command.batch_id, 0, error="no", cause=None)
    return command


async def test_a_chunk_that_was_given_up_is_delivered_after_all_once_its_letter_is_requeued(
    dead: Graveyard, conn: asyncpg.Connection, pool: asyncpg.Pool
) -> None:
    command = await given_up(conn)
    source = dead.topology.command_queue("deliver")
    await dead.put(command.model_dump_json().encode(), {"reason": "no", "source": source})

    assert await dead.run("requeue", "--all") == (0, "1 requeued\n", "")
    async with dead.consuming(Deliverer(dead.settings, pool).handle):
        await until(partial(_delivered, conn))

    assert await conn.fetchval("SELECT failed FROM batches") == 0
    assert await dead.listed() == []


async def test_a_letter_that_has_nothing_left_to_do_is_left_with_the_reason(
    dead: Graveyard, conn: asyncpg.Connection
) -> None:
    command = await given_up(conn)
    await Batches(conn).set_state(command.batch_id, "cancelled")
    source = dead.topology.command_queue("deliver")
    await dead.put(command.model_dump_json().encode(), {"reason": "no", "source": source})
    (letter,) = await dead.listed()

    done = await dead.run("requeue", "--all")

    reason = f"clarion: 1 name a chunk of a batch that is cancelled and were left, such as {letter['id']}\n"
    assert done == (1, "0 requeued\n", reason)
    assert await dead.listed() == [letter]


async def test_letters_that_a_full_queue_refuses_stay(dead: Graveyard) -> None:
    """The broker's answer to each publish decides, not that it was sent."""
    queue = dead.topology.directory
    await dead.outside.channel.queue_delete(queue)
    full = await dead.outside.channel.declare_queue(
        queue, durable=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
    )
    await full.bind(queue, "#")
    bodies = {str(number).encode() for number in range(20)}
    for body in bodies:
        await dead.put(body, {"reason": "test", "source": queue})

    done = await dead.run("requeue", "--all")

    went = await dead.bodies(queue)
    assert 0 < len(went) < len(bodies)
    assert (done.code, done.out) == (1, f"{len(went)} requeued\n")
    assert done.err == "clarion: a queue that it was routed to refused it: it is full, or cannot be used\n"
    assert {*went, *await dead.bodies(dead.topology.dead)} == bodies


@pytest.mark.parametrize("message_id", [None, "same"])
async def test_letters_of_a_queue_that_nothing_is_routed_to_stay(dead: Graveyard, message_id: str | None) -> None:
    """Also those of one message that was published, and dead-lettered, several times."""
    queue = await dead.outside.channel.get_queue(dead.topology.directory)
    await queue.unbind(dead.topology.directory, "#")
    for number in range(3):
        await dead.put(str(number).encode(), {"reason": "test", "source": queue.name}, message_id=message_id)

    done = await dead.run("requeue", "--all")

    assert (done.code, done.out) == (1, "0 requeued\n")
    assert "NO_ROUTE" in done.err
    assert len(await dead.listed()) == 3
    assert await dead.bodies(queue.name) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["requeue"],
        ["drop"],
        ["show"],
        ["requeue", "--all", "abc"],
        ["drop", "abc", "--source", "x"],
        ["list", "abc"],
        ["bury"],
    ],
)
def test_wrong_usage(arguments: list[str]) -> None:
    done = CliRunner().invoke(app, ["dead", *arguments])
    assert (done.exit_code, done.stdout) == (2, "")


@pytest.mark.parametrize("arguments", [("list",), ("show", "x"), ("requeue", "x"), ("drop", "--all")], ids=" ".join)
async def test_without_a_broker_it_says_so_in_one_line(settings: Settings, arguments: tuple[str, ...]) -> None:
    away = settings.model_copy(update={"amqp_url": "amqp://127.0.0.1:1/"})
    done = await clarion(away, "dead", *arguments)
    assert done.code == 1
    assert done.err.startswith("clarion: CLARION_AMQP_URL: cannot reach amqp://127.0.0.1:1/: ")
    assert done.err.count("\n") == 1
