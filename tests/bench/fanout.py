"""The benchmark: ``./deploy/bench`` prints one JSON object; progress goes to stderr.

One run measures everything on one fresh database: one ``clarion api`` and two ``clarion worker`` with default settings,
default durability, on the servers that CLARION_DATABASE_URL and CLARION_AMQP_URL name or private ones of the checkout.
Wall times differ from machine to machine and from minute to minute, so the ratios count, and what is compared is
measured in turns.
"""

import argparse
import asyncio
import os
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from statistics import median
from time import perf_counter
from typing import Any

import aiohttp
import asyncpg
from aio_pika.abc import AbstractQueue

from service.runtime import logs
from service.runtime.settings import Settings
from tests.bench import bystanders, costly_bodies, fairness, million, reading_rate, reuse, seen_in_time
from tests.bench.canvas_way import canvas_rate
from tests.bench.environment import (
    checkpoint,
    empty,
    forget_events,
    fresh_settings,
    print_report,
    second_settings,
    settle,
)
from tests.bench.events import compare, queue_of_all_events
from tests.bench.institution import Course, Institution, with_a_past
from tests.bench.progress import log
from tests.bench.raw_copy import copy_seconds
from tests.bench.reading import p50
from tests.bench.redelivery import redeliver
from tests.bench.resources import machine, peak_memory
from tests.bench.sending import Sent, send
from tests.bench.statements import statements_per_chunk
from tests.bench.targets import TARGETS
from tests.support.processes import Client, Installation, Process, free_port, installation


@dataclass(frozen=True)
class Sizes:
    """How much a run does."""

    recipients: int = 100_000
    existing: int = 2_000_000  # conversations that are there before the last send
    rounds: int = 8  # of the send on empty tables and the COPY beside it
    private_rounds: int = 3  # of new and reused threads
    warm_up: int = 5_000
    slow: int = 2_000  # recipients of the baselines that take a transaction for each
    requests: int = 200  # for each median of reading
    mailbox: int = 10_000  # conversations of the user with many
    costly_seconds: float = 4.0  # that bodies which cost much are sent
    costly_bytes: int = costly_bodies.LARGEST  # of each
    young: bystanders.Sizes = field(default_factory=bystanders.Sizes)  # the installation that was just made
    readers: seen_in_time.Sizes = field(default_factory=seen_in_time.Sizes)  # who look for what was accepted
    reading: reading_rate.Sizes = field(default_factory=reading_rate.Sizes)  # as much as one gateway answers
    largest: million.Sizes = field(default_factory=million.Sizes)  # one request to ten times as many
    shares: fairness.Sizes = field(default_factory=fairness.Sizes)  # sends that share the workers


QUICK = Sizes(
    recipients=500,
    existing=1_000,
    rounds=1,
    private_rounds=1,
    warm_up=50,
    slow=20,
    requests=10,
    mailbox=100,
    costly_seconds=0.2,
    costly_bytes=500_000,
    young=bystanders.QUICK,
    readers=seen_in_time.QUICK,
    reading=reading_rate.QUICK,
    largest=million.QUICK,
    shares=fairness.QUICK,
)


@dataclass
class Run:
    """What all parts of a run use."""

    sizes: Sizes
    settings: Settings
    conn: asyncpg.Connection
    institution: Institution
    clarion: Installation
    session: aiohttp.ClientSession
    processes: Sequence[Process] = ()
    consumer_queue: AbstractQueue | None = None

    async def client(self, user_id: int, *, url: str | None = None) -> Client:
        """A user of the API."""
        return Client(self.session, url or self.clarion.url, await self.institution.token(user_id))

    async def start(self, **env: str) -> None:
        """One api and two workers."""
        log("starting one api and two workers")
        clarion = self.clarion
        self.processes = await asyncio.gather(clarion.api(**env), clarion.worker(**env), clarion.worker(**env))

    async def stop(self) -> None:
        """Ends what was started."""
        await asyncio.gather(*(process.stop() for process in self.processes))

    async def empty(self) -> None:
        """No conversation, message, batch or event is left; the institution stays."""
        await empty(self.conn)
        if self.consumer_queue is not None:
            await self.consumer_queue.purge()

    async def send(self, course: Course, *, url: str | None = None, private: bool = False) -> Sent:
        """A measured send by the course's teacher."""
        sent = await send(self.conn, await self.client(course.teacher, url=url), course, private=private)
        log(f"  {sent.recipients:,} recipients, accepted after {sent.accepted_after:.3f} s, {sent.rate:,.0f} a second")
        return sent


async def measure(sizes: Sizes) -> dict[str, Any]:
    """The whole run; the report."""
    load = os.getloadavg()[0]  # what the machine was busy with before; much of it, and the figures say little
    async with AsyncExitStack() as stack:
        settings = await stack.enter_async_context(fresh_settings())
        logs.configure(settings.model_copy(update={"log_level": "warning"}))
        conn = await asyncpg.connect(str(settings.database_url), command_timeout=1800)
        stack.push_async_callback(conn.close)
        clarion = await stack.enter_async_context(installation(settings, fresh=True))
        session = await stack.enter_async_context(aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)))
        run = Run(sizes, settings, conn, Institution(conn), clarion, session)
        await run.institution.open()
        warm_up = await run.institution.course(sizes.warm_up)
        course = await run.institution.course(sizes.recipients)
        await run.start()
        figures = await _bystanders(run, course)
        figures |= await _seen_in_time(run, course)
        figures |= await _fairness(run, course)
        figures |= await _sending(run, warm_up, course)
        figures |= await _again(run, warm_up, course)
        figures |= await _private(run, warm_up, course)
        figures |= await _slow_baselines(run)
        figures |= await _statements(run)
        figures |= await _with_a_past(run)
        figures |= await _reading(run)
        figures |= await _reading_rate(run)
        figures |= await _costly_bodies(run)
        figures |= await _relaying(sizes)
        figures |= await million.measure(sizes.largest)
        figures |= _ratios(figures)
        return {
            "sizes": asdict(sizes),
            "machine": await machine(conn, settings) | {"load_before": round(load, 2)},
            "settings": settings.model_dump(
                include={
                    "chunk_size",
                    "deliver_lanes",
                    "batch_chunks_in_flight",
                    "database_pool_size",
                    "max_bulk_private_recipients",
                }
            ),
            "figures": {name: round(value, 4) for name, value in figures.items()},
            "targets": [target.judge(figures) for target in TARGETS],
        }


async def _bystanders(run: Run, course: Course) -> dict[str, float]:
    """What everybody else notices of big sends, while the database is still as it was made."""
    log("others during big sends")
    client = partial(Client, run.session, run.clarion.url)
    return await bystanders.measure(run.sizes.young, run.conn, run.institution, course, client)


async def _seen_in_time(run: Run, course: Course) -> dict[str, float]:
    """Whether readers have what was accepted before they asked."""
    log("reads during big sends")
    client = partial(Client, run.session, run.clarion.url)
    return await seen_in_time.measure(run.sizes.readers, run.conn, run.institution, course, client)


async def _fairness(run: Run, course: Course) -> dict[str, float]:
    """How sends share the workers."""
    log("sends side by side")
    client = partial(Client, run.session, run.clarion.url)
    return await fairness.measure(run.sizes.shares, run.conn, run.institution, course, client)


async def _sending(run: Run, warm_up: Course, course: Course) -> dict[str, float]:
    """New threads on empty tables: by an installation without events, by one whose events go to a queue, and
    raw COPY of the same rows, in turns.
    """
    without, rounds, copies = [], [], []
    async with second_settings(run.settings) as settings, installation(settings, fresh=True) as clarion:
        silent = replace(run, settings=settings, clarion=clarion)
        await silent.start(CLARION_EVENTS="false")
        for number in range(run.sizes.rounds):
            log(f"new threads without events, round {number + 1}")
            without.append(await _on_empty_tables(silent, warm_up, course))
            log(f"new threads, round {number + 1}")
            async with queue_of_all_events(run.settings) as consumer_queue:
                sent = await _on_empty_tables(replace(run, consumer_queue=consumer_queue), warm_up, course)
            await forget_events(run.conn)  # their turn comes below; here they would slow down what is compared
            send_id = await run.conn.fetchval("SELECT send_id FROM batches WHERE id = $1", sent.batch_id)
            copies.append(run.sizes.recipients / await copy_seconds(run.conn, send_id))
            rounds.append(sent)
            log(f"  raw COPY: {copies[-1]:,.0f} a second; share {sent.rate / copies[-1]:.3f}")
        await silent.stop()
    api, *workers = (peak_memory(process.pid) / 1e6 for process in run.processes)
    return {
        "without_events_per_second": median(sent.rate for sent in without),
        "new_per_second": median(sent.rate for sent in rounds),
        "new_seconds": median(sent.finished_after for sent in rounds),
        "accept_seconds": median(sent.accepted_after for sent in rounds),
        "raw_copy_per_second": median(copies),
        # Of each round, because the machine's own speed drifts between them.
        "rate_to_raw_copy": median(sent.rate / copied for sent, copied in zip(rounds, copies, strict=True)),
        "rate_with_events_to_without": median(
            sent.rate / alone.rate for sent, alone in zip(rounds, without, strict=True)
        ),
        "wal_bytes_per_recipient": median(sent.wal / sent.recipients for sent in rounds),
        "stored_bytes_per_recipient": median(sent.stored / sent.recipients for sent in rounds),
        "peak_megabytes_api": api,
        "peak_megabytes_worker": max(workers),
    }


async def _on_empty_tables(run: Run, warm_up: Course, course: Course) -> Sent:
    """Statistics are gathered before the warm-up, because PostgreSQL plans every statement anew after that."""
    await run.empty()
    await settle(run.conn)
    await run.send(warm_up)
    await forget_events(run.conn)
    await checkpoint(run.conn)
    return await run.send(course)


async def _again(run: Run, warm_up: Course, course: Course) -> dict[str, float]:
    """The commands of a send, again."""
    log("every command of a batch again")
    sent = await _on_empty_tables(run, warm_up, course)
    await forget_events(run.conn)
    await checkpoint(run.conn)
    again = []
    for _ in range(run.sizes.rounds):
        again.append(await redeliver(run.conn, run.settings, run.processes[1:], sent.batch_id))
        log(f"  {again[-1].commands} commands in {again[-1].seconds:.3f} s")
    return {
        "redelivery_seconds": median(redelivered.seconds for redelivered in again),
        "redelivery_rows_written": sum(redelivered.rows_written for redelivered in again),
    }


async def _private(run: Run, warm_up: Course, course: Course) -> dict[str, float]:
    """Private messages, into new threads and into the same ones again."""
    log("private messages, threads reused")
    clients = {each.id: await run.client(each.teacher) for each in (warm_up, course)}
    rounds = run.sizes.private_rounds
    return await reuse.measure(run.conn, run.settings, warm_up, course, lambda each: clients[each.id], rounds=rounds)


async def _slow_baselines(run: Run) -> dict[str, float]:
    """A transaction for each recipient: as Canvas does it, and with a command for each."""
    log("Canvas's way")
    course = await run.institution.course(run.sizes.slow)
    url = str(run.settings.database_url)
    loops = {n: await canvas_rate(url, course.students, course.teacher, loops=n) for n in (1, 2)}
    log(f"  {loops[1]:,.0f} a second, {loops[2]:,.0f} with two loops")
    log("one command and one transaction for each recipient")
    port = free_port()
    await run.clarion.api(CLARION_PORT=str(port), CLARION_CHUNK_SIZE="1")
    single = await run.send(course, url=f"http://127.0.0.1:{port}")
    return {
        "canvas_way_per_second": loops[1],
        "canvas_way_two_loops_per_second": loops[2],
        "message_per_recipient_per_second": single.rate,
    }


async def _statements(run: Run) -> dict[str, float]:
    log("statements of a chunk")
    seen = await statements_per_chunk(run.conn, run.settings, await run.institution.course(300))
    for text in seen:
        log(f"  {text[:80]}")
    return {"statements_per_chunk": len(seen)}


async def _with_a_past(run: Run) -> dict[str, float]:
    """New threads where there are many already, the recipients' own among them."""
    log(f"{run.sizes.existing:,} conversations of earlier years")
    start = perf_counter()
    course = await with_a_past(run.institution, conversations=run.sizes.existing, students=run.sizes.recipients)
    await settle(run.conn)
    log(f"  there after {perf_counter() - start:.0f} s; new threads among them")
    await run.send(await run.institution.course(run.sizes.warm_up), private=True)
    await forget_events(run.conn)
    sent = await run.send(course, private=True)
    return {"with_past_per_second": sent.rate, "with_past_wal_bytes_per_recipient": sent.wal / sent.recipients}


async def _reading(run: Run) -> dict[str, float]:
    """A mailbox of thousands and one of ten."""
    log("reading")
    figures = {}
    for name, threads in (("large", run.sizes.mailbox), ("small", 10)):
        owner, *others = await run.institution.users(threads + 1)
        await run.institution.threads(others, [owner] * threads)
        client = await run.client(owner)
        await settle(run.conn)
        for what, path in (("list_page", "/conversations"), ("unread_count", "/conversations/unread_count")):
            figures[f"{what}_{name}_ms"] = await p50(client, path, requests=run.sizes.requests) * 1000
            log(f"  {what}, {threads:,} conversations: {figures[f'{what}_{name}_ms']:.2f} ms")
    return figures


async def _reading_rate(run: Run) -> dict[str, float]:
    """Requests a second, beside those of a bare handler."""
    log("reading as fast as one gateway answers")
    port, pid = run.clarion.settings.port, run.processes[0].pid
    found = await reading_rate.measure(run.sizes.reading, run.settings, run.institution, run.conn, port=port, pid=pid)
    return {f"reading_{name}": value for name, value in found.items()}


async def _relaying(sizes: Sizes) -> dict[str, float]:
    """What one relay publishes, and the broker takes at most on one channel, on a database of their own."""
    log("relaying the events of a bulk send")
    async with fresh_settings() as settings:
        found = await compare(settings, messages=sizes.recipients, raw=sizes.recipients, rounds=1)
    names = ("bare", "relay", "sets", "unbound")
    figures = {f"{name}_events_per_second": found[f"{name}_events_per_second"] for name in names}
    log("  " + ", ".join(f"{name.partition('_')[0]} {rate:,.0f} a second" for name, rate in figures.items()))
    return figures


async def _costly_bodies(run: Run) -> dict[str, float]:
    """How soon /livez is answered while one client sends bodies that cost much."""
    log("bodies that cost much")
    (user,) = await run.institution.users(1)
    token = await run.institution.token(user)
    seconds, size = run.sizes.costly_seconds, run.sizes.costly_bytes
    return await costly_bodies.measure(run.clarion.url, token, seconds=seconds, size=size)


def _ratios(figures: dict[str, float]) -> dict[str, float]:
    new = figures["new_per_second"]
    return {
        "rate_to_canvas_way": figures["private_per_second"] / figures["canvas_way_per_second"],
        "rate_to_message_per_recipient": new / figures["message_per_recipient_per_second"],
        "relay_to_bare_socket": figures["relay_events_per_second"] / figures["bare_events_per_second"],
        "accept_share": figures["accept_seconds"] / figures["new_seconds"],
        "redelivery_share": figures["redelivery_seconds"] / figures["new_seconds"],
        "rate_with_past_to_empty": figures["with_past_per_second"] / figures["private_per_second"],
        "list_page_large_to_small": figures["list_page_large_ms"] / figures["list_page_small_ms"],
        "unread_count_large_to_small": figures["unread_count_large_ms"] / figures["unread_count_small_ms"],
    }


def _sizes(arguments: Sequence[str] | None = None) -> Sizes:
    parser = argparse.ArgumentParser(prog="deploy/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small numbers, to see that everything works")
    parser.add_argument("--recipients", type=int)
    parser.add_argument("--existing", type=int, help="conversations there before the last send")
    parser.add_argument("--rounds", type=int)
    asked = vars(parser.parse_args(arguments))
    base = QUICK if asked.pop("quick") else Sizes()
    return replace(base, **{name: value for name, value in asked.items() if value is not None})


if __name__ == "__main__":
    print_report(measure(_sizes()))
