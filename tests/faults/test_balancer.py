"""Everything behind a balancer replaced under load, with the reference configuration of deploy/haproxy."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest

from service.runtime.settings import Settings
from sql.verification import Copies, count_copies
from tests.support.balancer import CONFIGURATION, balancer
from tests.support.broker import broker_client
from tests.support.event_streams import event_stream
from tests.support.fault_environment import FaultEnvironment, fault_environment, logged
from tests.support.mixed_load import MixedLoad, mixed_load
from tests.support.processes import Process, free_port
from tests.support.programs import machine_program

GATEWAYS = WORKERS = 3
STUDENTS = 20_000
DRAIN = 2.5  # seconds: more than the two checks after which a gateway counts as down
PUBLIC_URL = "https://clarion.example"
LIES = {
    "Host": "a.example",
    "X-Forwarded-Host": "b.example",
    "X-Forwarded-Proto": "gopher",
    "X-Forwarded-For": "8.8.8.8",
}


@pytest.fixture(autouse=True)
def installed() -> None:
    """Skipped where there is no HAProxy."""
    machine_program("haproxy")


@pytest.fixture
async def there(settings: Settings, request: pytest.FixtureRequest) -> AsyncIterator[FaultEnvironment]:
    """As an operator has it, but for small chunks, with which sends last, and the throttle, which slows the load."""
    own = {
        "chunk_size": 500,
        "throttle_maximum": 0,
        "drain_delay": DRAIN,
        "public_url": PUBLIC_URL,
        "forwarded_allow": "127.0.0.1",
    }
    async with fault_environment(settings.model_copy(update=own), students=request.param) as made:
        yield made
    async with broker_client(settings) as cleaner:
        await cleaner.delete_topology()


def test_the_reference_configuration_is_valid() -> None:
    subprocess.run([machine_program("haproxy"), "-c", "-q", "-f", CONFIGURATION], check=True)


async def watch(session: aiohttp.ClientSession, url: str, token: str, batch_id: int) -> int:
    """Follows a batch to its end, coming back whenever a stream ends; how often one did, which it does in order."""
    goodbyes = 0
    headers = {"Authorization": f"Bearer {token}"}
    while True:
        async with event_stream(session, headers, batch_id, base=url) as stream:
            if "finished" in [event.name for event in await stream.rest()]:
                return goodbyes
            goodbyes += 1


async def replace_gateways(there: FaultEnvironment, running: list[Process], ports: list[int], load: MixedLoad) -> None:
    """One after the other, each on the port of the one before it."""
    for old, port in zip(running, ports, strict=True):
        await load.more(3)
        batch = await load.send(there.bulk())
        assert await old.stop() == 0
        await there.running.api(CLARION_PORT=str(port))
        await load.teacher.sent(batch)


async def replace_workers(there: FaultEnvironment, running: list[Process], load: MixedLoad) -> None:
    """One after the other, each in the middle of a send."""
    for old in running:
        batch = await load.send(there.bulk())
        await there.until("SELECT delivered > 0 FROM batches WHERE id = $1", batch)
        assert await old.stop() == 0
        await there.running.worker()
        await load.teacher.sent(batch)


@pytest.mark.parametrize("there", [STUDENTS], indirect=True)
async def test_everything_is_replaced_under_load_and_no_request_fails(there: FaultEnvironment) -> None:
    ports = [free_port() for _ in range(GATEWAYS)]
    gateways = [await there.running.api(CLARION_PORT=str(port)) for port in ports]
    workers = [await there.running.worker() for _ in range(WORKERS)]

    async with balancer(ports) as url, mixed_load(there, url) as load, asyncio.TaskGroup() as watching:
        waiting = await load.send(there.bulk(send_at=(datetime.now(UTC) + timedelta(days=1)).isoformat()))
        token = f"token-of-{there.school.teacher}"
        watchers = [watching.create_task(watch(there.session, url, token, waiting)) for _ in range(GATEWAYS)]

        async with asyncio.TaskGroup() as replacing:
            replacing.create_task(replace_gateways(there, gateways, ports, load))
            replacing.create_task(replace_workers(there, workers, load))
        status, _, _ = await load.teacher.call("POST", f"/conversations/batches/{waiting}/cancel")
        assert status == 200

    assert [watcher.result() > 0 for watcher in watchers] == [True] * GATEWAYS
    async with there.look() as conn:
        batches = await conn.fetch("SELECT id, state, total, delivered FROM batches WHERE id <> $1", waiting)
        assert len(batches) == GATEWAYS + WORKERS
        for batch in batches:
            assert (batch["state"], batch["total"], batch["delivered"]) == ("sent", STUDENTS, STUDENTS)
            assert await count_copies(conn, batch["id"]) == Copies(STUDENTS, duplicates=0, missing=0)
        await load.assert_once(conn)


@pytest.mark.parametrize("there", [1], indirect=True)
async def test_what_a_client_says_of_its_origin_is_not_handed_on(there: FaultEnvironment) -> None:
    gateway = await there.running.api()
    port = there.running.settings.port
    async with balancer([port] * GATEWAYS) as url:
        status, _, headers = await there.teacher.at(url).call("GET", "/conversations", headers=LIES)
        async with there.session.get(f"{url}/metrics") as answer:
            inside = answer.status

    assert (status, inside) == (200, 404)
    assert headers["Link"].startswith(f"<{PUBLIC_URL}/api/v1/conversations?")
    await gateway.logged("/api/v1/conversations")
    (line,) = logged(gateway, "/api/v1/conversations")
    assert '"client_ip":"127.0.0.1"' in line.replace(" ", "")
