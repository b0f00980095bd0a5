"""CLARION_AMQP_URL: one URL or those of a cluster's nodes; whatever is wrong with it is named in one line."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from yarl import URL

from service.runtime import settings as configuration
from service.runtime.broker import BrokerUnavailable, connect, connect_to_any
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings, SettingsError, nodes_of
from tests.support.broker import broker_client
from tests.support.waiting import until

AWAY = "amqp://127.0.0.1:1/"


def test_urls_are_separated_by_commas_that_stand_before_another() -> None:
    assert nodes_of("amqp://a:p,w@one/v , amqps://two/,amqp://three") == (
        "amqp://a:p,w@one/v",
        "amqps://two/",
        "amqp://three",
    )


@pytest.mark.parametrize(
    "url",
    ["", "http://127.0.0.1/", "amqp://one,two/", "amqp://one:5672,two:5672/", f"{AWAY},http://two/", f"{AWAY},amqp://"],
)
def test_what_is_no_url_stops_the_start_by_name(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("CLARION_DATABASE_URL", "postgresql://127.0.0.1/clarion")
    monkeypatch.setenv("CLARION_AMQP_URL", url)
    with pytest.raises(SettingsError, match=r"^CLARION_AMQP_URL: [^\n]+$"):
        configuration.load()


@pytest.mark.parametrize("order", ["{AWAY},{there}", "{there},{AWAY}", "{AWAY},{AWAY},{there}"])
async def test_the_next_node_is_tried_when_one_is_away(settings: Settings, order: str) -> None:
    urls = order.format(AWAY=AWAY, there=settings.amqp_url)
    publisher = Publisher(settings.model_copy(update={"amqp_url": urls}), "test")

    await publisher.broker.start()
    await until(lambda: publisher.connected)
    await publisher.broker.stop()
    await (await connect_to_any(urls, "test")).close()

    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()


@asynccontextmanager
async def way_to(settings: Settings) -> AsyncIterator[tuple[str, asyncio.Event]]:
    """A URL that leads to the broker until the event is set."""
    there, closed = URL(settings.amqp_url), asyncio.Event()
    writers: list[asyncio.StreamWriter] = []

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not closed.is_set() and (data := await reader.read(65_536)):
            writer.write(data)
        writer.close()

    async def enter(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection(there.host, there.port or 5672)
        writers.extend((writer, far_writer))
        await asyncio.gather(carry(reader, far_writer), carry(far_reader, writer), return_exceptions=True)

    async def close() -> None:
        await closed.wait()
        server.close()
        for writer in writers:
            writer.close()

    server = await asyncio.start_server(enter, "127.0.0.1", 0)
    closing = asyncio.create_task(close())
    yield str(there.with_host("127.0.0.1").with_port(server.sockets[0].getsockname()[1])), closed
    closed.set()
    await closing


async def test_a_lost_node_is_replaced_by_the_next(settings: Settings) -> None:
    async with way_to(settings) as (url, closed):
        publisher = Publisher(settings.model_copy(update={"amqp_url": f"{url},{settings.amqp_url}"}), "test")
        await publisher.broker.start()
        await until(lambda: publisher.connected)

        closed.set()
        await until(lambda: not publisher.connected)
        await until(lambda: publisher.connected)

        await publisher.broker.stop()
    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes a connection and says nothing until the other side ends it."""
    await reader.read()
    writer.close()
    await writer.wait_closed()


async def hangs_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Takes a connection and ends it."""
    writer.close()
    await writer.wait_closed()


async def speaks_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A server of another kind."""
    await reader.read(8)
    writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    writer.close()
    await writer.wait_closed()


async def why_not(url: URL) -> str:
    """The error of a connection to that node."""
    with pytest.raises(BrokerUnavailable) as raised:
        await connect(str(url), "test")
    return str(raised.value)


async def test_why_a_node_cannot_be_used_is_said_in_plain_words(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = URL(settings.amqp_url)

    reasons = {
        await why_not(there.with_path("/nowhere")): "there is no virtual host 'nowhere', or this user may not use it",
        await why_not(there.with_password("wrong")): "the login was refused: user or password is wrong",
        await why_not(there.with_port(1)): "Connect call failed",
    }
    monkeypatch.setattr("service.runtime.broker.CONNECT_TIMEOUT", 0.3)
    for behaviour, reason in (
        (silent, "no answer in time"),
        (hangs_up, "connection"),
        (speaks_http, "there may be no RabbitMQ"),
    ):
        server = await asyncio.start_server(behaviour, "127.0.0.1", 0)
        reasons[await why_not(there.with_port(server.sockets[0].getsockname()[1]))] = reason
        server.close()

    for said, reason in reasons.items():
        assert said.startswith(f"CLARION_AMQP_URL: cannot reach amqp://{there.host}:")
        assert reason in said
        assert "object at" not in said
        assert "\n" not in said
        assert there.password is None or there.password not in said


async def test_of_several_nodes_the_reason_of_each_is_said(settings: Settings) -> None:
    other = URL(settings.amqp_url).with_path("/nowhere")

    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:1/: .+; CLARION_AMQP_URL: .+ no virtual host"):
        await connect_to_any(f"{AWAY},{other}", "test")
