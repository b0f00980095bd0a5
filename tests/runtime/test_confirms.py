"""Publishes that wait for their confirms on one channel: what the broker refused is never taken for confirmed."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aio_pika import Message
from aio_pika.abc import AbstractExchange
from aio_pika.exceptions import DeliveryError, PublishError

from service.runtime.confirms import Confirms
from service.runtime.settings import Settings
from tests.support.broker import broker_client


@pytest.fixture
async def exchange(settings: Settings) -> AsyncIterator[AbstractExchange]:
    """An exchange to which two queues are bound, one by each of the keys "taken" and "full"."""
    async with broker_client(settings) as client:
        made = await client.channel.declare_exchange(f"{settings.amqp_prefix}.confirms", auto_delete=True)
        taken = await client.channel.declare_queue(exclusive=True)
        await taken.bind(made, "taken")
        full = await client.channel.declare_queue(
            exclusive=True, arguments={"x-max-length": 1, "x-overflow": "reject-publish"}
        )
        await full.bind(made, "full")
        yield made


async def outcomes(exchange: AbstractExchange, *publishes: tuple[str | None, str]) -> list[object]:
    """Of messages by their (id, routing key), all on their way at once: the kind of the error, None if confirmed."""
    confirms = Confirms()
    results = await asyncio.gather(
        *(confirms.publish(exchange, Message(b"x", message_id=message_id), key) for message_id, key in publishes),
        return_exceptions=True,
    )
    assert not confirms._on_their_way
    return [None if result is None else type(result) for result in results]


@pytest.mark.parametrize("copies", [1, 2, 5])
async def test_of_messages_of_one_id_that_no_queue_wants_none_is_confirmed(
    exchange: AbstractExchange, copies: int
) -> None:
    """aiormq takes the latest for returned, and the others for confirmed."""
    assert await outcomes(exchange, *[("same", "nowhere")] * copies) == [PublishError] * copies


async def test_one_that_was_returned_does_not_count_as_confirmed_while_its_namesake_is_still_being_sent(
    exchange: AbstractExchange,
) -> None:
    """The second takes so long to write that the broker has answered the first; aiormq blames the second for that."""
    confirms = Confirms()
    bodies = {b"small": "nowhere", bytes(16_000_000): "taken"}

    results = await asyncio.gather(
        *(confirms.publish(exchange, Message(body, message_id="same"), key) for body, key in bodies.items()),
        return_exceptions=True,
    )

    assert [type(result) for result in results] == [PublishError, PublishError]


async def test_each_id_has_an_outcome_of_its_own(exchange: AbstractExchange) -> None:
    publishes = [("1", "taken"), ("2", "nowhere"), ("3", "taken"), (None, "nowhere"), (None, "taken"), ("1", "taken")]

    assert await outcomes(exchange, *publishes) == [None, PublishError, None, PublishError, None, None]


async def test_what_a_full_queue_refuses_is_not_confirmed(exchange: AbstractExchange) -> None:
    first, *others = await outcomes(exchange, *((str(number), "full") for number in range(20)))

    assert first is None
    assert DeliveryError in others
    assert set(others) <= {None, DeliveryError}  # how many it takes beyond its length is not exact


async def test_an_id_is_forgotten_with_its_message(exchange: AbstractExchange) -> None:
    confirms = Confirms()
    with pytest.raises(PublishError):
        await confirms.publish(exchange, Message(b"x", message_id="same"), "nowhere")

    await confirms.publish(exchange, Message(b"x", message_id="same"), "taken")
