"""A trace, from the request to the workers' log lines and the events, with and without a collector."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import pytest
from aio_pika import Message
from aio_pika.abc import AbstractIncomingMessage, AbstractQueue

from service.contracts.commands import PlanBatch
from service.contracts.topology import Topology
from tests.road.test_bulk_send import bulk
from tests.support.broker import BrokerClient, broker_client
from tests.support.event_consumer import EventConsumer, ReceivedEvent, event_consumer
from tests.support.processes import Client, Installation, Process
from tests.support.school import School
from tests.support.span_collector import Collector, collector
from tests.support.waiting import PATIENCE, until

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"
SERVER, PRODUCER, CONSUMER = 2, 4, 5  # kinds of spans, by their numbers in OTLP

PATIENT = {"CLARION_RETRY_AFTER": "60"}  # on a busy machine, nothing is commanded twice all the same

AsUser = Callable[[int], Awaitable[Client]]


@pytest.fixture
async def spans() -> AsyncIterator[Collector]:
    """A collector that listens."""
    async with collector() as made:
        yield made


def exporting_to(spans: Collector) -> dict[str, str]:
    """The environment of a process that exports its spans soon after they end."""
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": spans.url, "OTEL_BSP_SCHEDULE_DELAY": "50", **PATIENT}


def lines(process: Process, event: str) -> list[dict[str, object]]:
    """What the process logged under that name."""
    return [line for line in map(json.loads, process.lines) if line["event"] == event]


async def copy_commands(outside: BrokerClient, *names: str) -> AbstractQueue:
    """An exclusive queue that is given a copy of these commands."""
    queue = await outside.channel.declare_queue(exclusive=True)
    for name in names:
        await queue.bind(outside.topology.commands, name)
    return queue


def named(consumer: EventConsumer, event: str) -> list[ReceivedEvent]:
    """Events of that name."""
    return [one for one in consumer.received if one.event.name == event]


async def test_without_an_exporter_the_traceparent_arrives_as_it_came(
    running: Installation, school: School, as_user: AsUser
) -> None:
    gateway, worker = await running.api(**PATIENT), await running.worker(**PATIENT)
    async with broker_client(running.settings) as outside, event_consumer(running.settings) as consumer:
        commands = await copy_commands(outside, "plan", "deliver")
        found: list[AbstractIncomingMessage] = []

        async def take(message: AbstractIncomingMessage) -> None:
            found.append(message)

        await commands.consume(take, no_ack=True)
        teacher = await as_user(school.teacher)
        _, _, headers = await teacher.call(
            "POST", "/conversations", json=bulk(school), headers={"traceparent": TRACEPARENT}
        )
        batch = await teacher.sent(headers["X-Conversation-Batch-Id"])
        await until(lambda: len(found) == 14)  # 250 recipients by 20, and the plan
        # Batch events and those of its copies go their own ways, so the last of either may be the last of all.
        await consumer.until(lambda it: len(named(it, "batch_finished")) == 1)
        await consumer.until(lambda it: len(named(it, "conversation_created")) == 250)

    assert batch["workflow_state"] == "sent"
    assert {message.headers.get("traceparent") for message in found} == {TRACEPARENT}
    assert {line.get("trace_id") for line in lines(worker, "chunk_delivered")} == {TRACE}
    assert {line.get("span_id") for line in lines(worker, "batch_planned")} == {PARENT}
    assert TRACE in {line.get("trace_id") for line in lines(gateway, "request")}
    assert {one.traceparent for one in consumer.received} == {TRACEPARENT}


async def test_a_request_without_a_trace_has_none_anywhere(
    running: Installation, school: School, as_user: AsUser
) -> None:
    await running.api()
    worker = await running.worker()
    async with broker_client(running.settings) as outside:
        commands = await copy_commands(outside, "plan")
        teacher = await as_user(school.teacher)
        _, _, headers = await teacher.call("POST", "/conversations", json=bulk(school))
        await teacher.sent(headers["X-Conversation-Batch-Id"])
        plan = await commands.get(no_ack=True)

    assert "traceparent" not in plan.headers
    assert {line.get("trace_id") for line in lines(worker, "chunk_delivered")} == {None}


async def test_a_collector_receives_spans_of_the_request_and_all_that_came_of_it(
    running: Installation, school: School, as_user: AsUser, spans: Collector
) -> None:
    topology = Topology(running.settings.amqp_prefix)
    await running.api(**exporting_to(spans))
    worker = await running.worker(**exporting_to(spans))
    teacher = await as_user(school.teacher)
    async with event_consumer(running.settings) as consumer:
        _, _, headers = await teacher.call(
            "POST", "/conversations", json=bulk(school), headers={"traceparent": TRACEPARENT}
        )
        await teacher.sent(headers["X-Conversation-Batch-Id"])
        await consumer.until(lambda it: any(one.event.name == "batch_finished" for one in it.received))
    deliver, plan = topology.command_queue("deliver"), topology.command_queue("plan")
    await spans.until(lambda it: len(it.named(f"process {deliver}")) == 13)

    by_id = {span.id: span for span in spans.finished}
    (request,) = spans.named("POST /api/v1/conversations")
    assert (request.kind, request.service, request.trace, request.parent) == (SERVER, "clarion-api", TRACE, PARENT)
    assert request.attributes["http.response.status_code"] == 202
    (planning,) = spans.named(f"process {plan}")
    assert (planning.kind, planning.service) == (CONSUMER, "clarion-worker")
    command_to_plan = by_id[planning.parent]
    assert (command_to_plan.name, command_to_plan.kind) == (f"publish {topology.commands}", PRODUCER)
    kinds = [span.attributes["messaging.operation.type"] for span in (command_to_plan, planning)]
    assert kinds == ["send", "process"]
    assert command_to_plan.parent == request.id
    # The first chunks are commanded by the planning, and each next one by the delivery of one before it, unless a sweep
    # that comes just then commands it in the name of the request.
    sources = {request.id, planning.id, *(span.id for span in spans.named(f"process {deliver}"))}
    for name in (f"receive {deliver}", f"process {deliver}"):
        of_chunks = spans.named(name)
        assert {by_id[span.parent].parent for span in of_chunks} <= sources
        assert {span.trace for span in of_chunks} == {TRACE}
        assert len({span.attributes["messaging.message.id"] for span in of_chunks}) == 13
    assert {(line["trace_id"], line["span_id"]) for line in lines(worker, "chunk_delivered")} == {
        (TRACE, span.id) for span in spans.named(f"process {deliver}")
    }
    await spans.until(
        lambda it: TRACE in {link for span in it.named(f"publish {topology.events}") for link in span.links}
    )
    assert {str(one.traceparent).split("-")[1] for one in consumer.received} == {TRACE}
    assert not [span for span in spans.finished if span.failed]


async def test_the_span_of_a_command_that_failed_is_marked_as_failed(running: Installation, spans: Collector) -> None:
    await running.worker(**exporting_to(spans))
    async with broker_client(running.settings) as outside:
        await outside.publish(b"nonsense", "plan")
        await outside.dead_letters(1)
        queue = outside.topology.command_queue("plan")
    await spans.until(lambda it: it.named(f"process {queue}"))

    (failed,) = spans.named(f"process {queue}")
    assert failed.failed
    assert failed.parent == ""


async def test_a_directory_event_that_is_refused_keeps_its_own_trace(running: Installation, spans: Collector) -> None:
    """Not that of the set it was handled with, which belongs to none of the senders."""
    await running.worker(**exporting_to(spans))
    async with broker_client(running.settings) as outside:
        entry = await outside.channel.get_exchange(outside.topology.directory, ensure=False)
        await entry.publish(Message(b"nonsense", headers={"traceparent": TRACEPARENT}), "any")
        await outside.waiting_in(outside.topology.dead, 1)
        dead = await outside.channel.get_queue(outside.topology.dead, ensure=False)
        letter = await dead.get(no_ack=True)

    assert letter is not None
    _, trace, parent, _ = str(letter.headers["traceparent"]).split("-")
    await spans.until(lambda it: it.named(f"publish {outside.topology.dead}"))
    (published,) = spans.named(f"publish {outside.topology.dead}")
    assert (trace, parent) == (TRACE, published.id)
    assert published.parent == PARENT


async def test_spans_not_exported_yet_are_exported_before_the_process_ends(
    running: Installation, spans: Collector
) -> None:
    gateway = await running.api(OTEL_EXPORTER_OTLP_ENDPOINT=spans.url, OTEL_BSP_SCHEDULE_DELAY="600000")
    worker = await running.worker(
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=f"{spans.url}/v1/traces",
        OTEL_BSP_SCHEDULE_DELAY="600000",
    )
    async with broker_client(running.settings) as outside:
        await outside.publish(PlanBatch(batch_id=1).model_dump_json().encode(), "plan")
        await worker.logged("batch_planned")
    async with aiohttp.ClientSession() as session, session.get(f"{running.url}/livez") as answer:
        assert answer.status == 200

    assert await gateway.stop() == 0
    assert await worker.stop() == 0
    assert {"GET /livez", f"process {outside.topology.command_queue('plan')}"} <= {span.name for span in spans.finished}


async def test_a_collector_that_is_away_holds_up_nothing(
    running: Installation, school: School, as_user: AsUser
) -> None:
    """Nor at the end, where the SDK would go on trying for half a minute."""
    away = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY": "50"}
    gateway, worker = await running.api(**away), await running.worker(**away)
    teacher = await as_user(school.teacher)
    _, _, headers = await teacher.call("POST", "/conversations", json=bulk(school))
    await teacher.sent(headers["X-Conversation-Batch-Id"])

    async with asyncio.timeout(PATIENCE):
        assert tuple(await asyncio.gather(gateway.stop(), worker.stop())) == (0, 0)
