"""Every message as it goes over the wire, to the byte: a change of one is a change of a golden file.

The real code encodes and publishes, on the real broker. How to change the files: tests/support/golden_files.py.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Container, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import orjson
import pytest
from aio_pika.abc import AbstractQueue

from service.api.asyncapi import document_of
from service.application.amqp_requests import read
from service.application.parameters.create_conversation import CreateParameters
from service.application.parameters.types import parse
from service.contracts import examples
from service.contracts.commands import AnyCommand
from service.contracts.directory import DirectoryEvent, parse_event
from service.contracts.topology import CREATE_CONVERSATION
from service.domain.event_metadata import Cause
from service.domain.outbox import BatchEventRow, BulkCopies, Encoded, MessagesRow
from service.runtime.event_publisher import EventPublisher
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from service.runtime.tracing import continued
from tests.support import golden_files
from tests.support.broker import BrokerClient
from tests.support.golden_files import GOLDEN, assert_golden, body_in, text_of
from tests.support.school import School
from tests.support.waiting import until
from workers.amqp_requests import RequestConsumer

HAPPENED = datetime.fromisoformat(examples.HAPPENED)
WRITTEN = datetime.fromisoformat(examples.WRITTEN)
OF_REQUEST = Cause(examples.OF_REQUEST, examples.TRACEPARENT)
OF_JOB = Cause(examples.OF_JOB, examples.TRACEPARENT)


def messages_row(event: str, cause: Cause, conversation_id: int, message_id: int) -> MessagesRow:
    """A row of the outbox."""
    return MessagesRow(event, HAPPENED, cause, 42, WRITTEN, [(conversation_id, message_id)])


class Example:
    """One event of that name, as the relay encodes it."""

    def __init__(self, name: str) -> None:
        self._name = name

    def counts(self) -> Counter[str]:
        """One of it."""
        return Counter([self._name])

    def events(self, unwanted: Container[str] = ()) -> Iterator[Encoded]:
        """It, unless it is unwanted."""
        return (event for event in [encoded(self._name)] if event.name not in unwanted)


def encoded(name: str) -> Encoded:
    """The example's first event."""
    row: MessagesRow | BatchEventRow
    match name:
        case "conversation_created":
            row = messages_row("delivered", OF_JOB, examples.CONVERSATION, examples.CONVERSATION)
        case "conversation_message_created":
            row = replace(
                messages_row("delivered", OF_JOB, examples.CONVERSATION, examples.MESSAGE),
                copies=BulkCopies(7, examples.MESSAGE, [501]),
            )
        case "conversation_forwarded":
            row = messages_row("forwarded", OF_REQUEST, examples.CONVERSATION, examples.MESSAGE)
        case _:
            moves = examples.MOVES.get(name, 0)
            cause = OF_REQUEST if name in ("batch_scheduled", "batch_paused", "batch_resumed") else OF_JOB
            row = BatchEventRow(name, HAPPENED, cause, examples.EVENTS[name]["body"], moves)
    return next(row.events())


async def listening(outsider: BrokerClient, exchange: str, key: str) -> AbstractQueue:
    """A queue of the test's own: no broker writes headers of its own into what comes there."""
    queue = await outsider.channel.declare_queue(exclusive=True)
    await queue.bind(exchange, key)
    return queue


async def text_in(queue: AbstractQueue, outsider: BrokerClient) -> bytes:
    """The one message in the queue, as a golden file has it."""
    message = await queue.get(no_ack=True)
    return text_of(message, prefix=outsider.topology.prefix)


@pytest.fixture
async def relaying(settings: Settings, outsider: BrokerClient) -> AsyncIterator[EventPublisher]:
    """Connected."""
    made = EventPublisher(settings, "test-events")
    await made.broker.start()
    await until(lambda: made.connected)
    yield made
    await made.broker.stop()


@pytest.mark.parametrize("command", examples.COMMANDS, ids=lambda command: str(command.name))
async def test_a_command(command: AnyCommand, publisher: Publisher, outsider: BrokerClient) -> None:
    queue = await listening(outsider, outsider.topology.commands, command.name)

    with continued(examples.TRACEPARENT):
        await publisher.command(command)

    assert_golden(f"commands/{command.name}", await text_in(queue, outsider))


@pytest.mark.parametrize("name", examples.EVENTS)
async def test_an_event(name: str, relaying: EventPublisher, outsider: BrokerClient) -> None:
    queue = await listening(outsider, outsider.topology.events, name)
    sets = await listening(outsider, outsider.topology.event_sets, name)
    source = Example(name)

    published = await relaying.publish([source])

    assert published == ({name: 1}, {})
    (event,) = source.events()
    assert (event.message_id, orjson.loads(event.body)) == (examples.message_id(name), examples.EVENTS[name])
    assert_golden(f"events/{name}", await text_in(queue, outsider))
    assert_golden(f"event_sets/{name}", await text_in(sets, outsider))


@pytest.mark.parametrize("name", examples.DIRECTORY)
def test_a_directory_event_and_what_is_understood_of_it(name: str) -> None:
    message = orjson.dumps(examples.DIRECTORY[name])

    event = parse_event(message)

    assert isinstance(event, DirectoryEvent)
    understood = {
        "name": event.name,
        "time": event.time,
        "emitted": event.emitted,
        "body": event.body.model_dump(include=event.body.model_fields_set),
    }
    shown = orjson.dumps(understood, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z)
    assert_golden(f"directory/{name}", b"\n".join([f'routing_key: "{name}"'.encode(), b"", message, b"", shown, b""]))


def test_a_request_and_what_is_understood_of_it() -> None:
    message = orjson.dumps(dict(examples.REQUEST))

    asked = read(message, longest=1_000_000)

    understood = {
        "as_user_id": asked.as_user_id,
        "key": asked.key,
        "fingerprint": asked.fingerprint.hex(),
        "parameters": parse(CreateParameters, dict(asked.parameters), shard_id=1).model_dump(exclude_unset=True),
    }
    shown = orjson.dumps(understood, option=orjson.OPT_INDENT_2)
    head = orjson.dumps(CREATE_CONVERSATION)
    assert_golden("requests/request", b"\n".join([b"routing_key: " + head, b"", message, b"", shown, b""]))


async def answer_to(request: Mapping[str, Any], outsider: BrokerClient) -> bytes:
    """The text of the answer. The queue's name is the test's, and the message id comes from the AMQP library."""
    queue = await outsider.channel.declare_queue(exclusive=True)
    exchange = await outsider.channel.get_exchange(outsider.topology.requests, ensure=False)
    message = aio_pika.Message(orjson.dumps(request), reply_to=queue.name, correlation_id="17")
    message.headers["traceparent"] = examples.TRACEPARENT
    await exchange.publish(message, CREATE_CONVERSATION, mandatory=True)

    await outsider.waiting_in(queue.name, 1)
    text = (await text_in(queue, outsider)).replace(queue.name.encode(), b"orders.answers")
    return re.sub(rb'message_id: "[0-9a-f]{32}"', b'message_id: "any"', text)


@pytest.fixture
async def requesting(settings: Settings, pool: asyncpg.Pool, publisher: Publisher) -> AsyncIterator[RequestConsumer]:
    """Connected."""
    made = RequestConsumer(settings, pool, publisher)
    await made.start()
    yield made
    await made.drain()


async def test_answers(
    requesting: RequestConsumer, conn: asyncpg.Connection, school: School, outsider: BrokerClient
) -> None:
    course = f"course_{school.course}"
    request = {**examples.REQUEST, "as_user_id": school.teacher, "recipients": [course], "context_code": course}

    accepted = await answer_to(request, outsider)
    again = await answer_to(request, outsider)
    refused = await answer_to({**request, "idempotency_key": "another", "recipients": ["999999"]}, outsider)

    batch = b'Batch-Id: "%d"' % await conn.fetchval("SELECT id FROM batches")
    assert_golden("requests/accepted", accepted.replace(batch, b'Batch-Id: "7"'))
    assert_golden("requests/accepted_before", again.replace(batch, b'Batch-Id: "7"'))
    assert_golden("requests/refused", refused)
    assert orjson.loads(body_in("requests/accepted")) == examples.ACCEPTED
    assert orjson.loads(body_in("requests/refused")) == examples.REFUSED


async def test_a_dead_letter(publisher: Publisher, outsider: BrokerClient) -> None:
    topology = outsider.topology
    living = await listening(outsider, topology.commands, "deliver")
    dead = await listening(outsider, topology.dead, "")
    commands = await outsider.channel.get_exchange(topology.commands, ensure=False)
    await commands.publish(aio_pika.Message(examples.UNREADABLE, message_id="deliver.7.12", type="deliver"), "deliver")

    await publisher.dead_letter(
        await living.get(no_ack=True),
        reason=examples.DEAD_LETTER["reason"],
        source=topology.command_queue("deliver"),
        routing_key="deliver",
        now=HAPPENED,
    )

    letter = await dead.get(no_ack=True)
    assert letter.headers == {**examples.DEAD_LETTER, "source": topology.command_queue("deliver")}
    assert_golden("dead_letter", text_of(letter, prefix=topology.prefix))


def test_the_document() -> None:
    document = document_of("clarion", "amqp")
    info = {**document["info"], "version": "of the release"}

    shown = orjson.dumps({**document, "info": info}, option=orjson.OPT_INDENT_2)

    assert_golden("asyncapi.json", shown + b"\n")


def test_there_is_no_golden_file_of_what_is_no_more() -> None:
    expected = {f"commands/{command.name}" for command in examples.COMMANDS}
    expected |= {f"{kind}/{name}" for kind in ("events", "event_sets") for name in examples.EVENTS}
    expected |= {f"directory/{name}" for name in examples.DIRECTORY}
    expected |= {"requests/request", "requests/accepted", "requests/accepted_before", "requests/refused"}
    expected |= {"asyncapi.json", "dead_letter"}

    assert {str(path.relative_to(GOLDEN)) for path in GOLDEN.rglob("*") if path.is_file()} == expected


def test_a_golden_file_that_differs_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(golden_files, "GOLDEN", tmp_path)
    monkeypatch.delenv(golden_files.WRITE, raising=False)
    lines = [f"line {number}" for number in range(1000)]
    (tmp_path / "document").write_text("\n".join(lines))

    with pytest.raises(pytest.fail.Exception) as failed:
        assert_golden("document", "\n".join([*lines[:500], "another", *lines[501:]]).encode())

    assert "-line 500\n+another\n" in str(failed.value)
    assert "line 100" not in str(failed.value)
