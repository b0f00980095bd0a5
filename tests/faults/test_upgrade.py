"""From the processes of an earlier state to those of this one, under load and without a stop.

CLARION_UPGRADE_FROM names another commit or tag (tests/README.md).
"""

import os
import subprocess
import tarfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deploy.environment import CHECKOUT
from service.runtime.settings import Settings
from tests.support.balancer import balancer
from tests.support.broker import broker_client
from tests.support.commands import clarion
from tests.support.databases import empty_database
from tests.support.fault_environment import FaultEnvironment, fault_environment
from tests.support.mixed_load import mixed_load
from tests.support.processes import free_port, installation
from tests.support.programs import machine_program

# Before the first release: the oldest state whose database this one takes over. Then: the tag of the release before.
EARLIER = os.environ.get("CLARION_UPGRADE_FROM", "63dd2eb4faff")


@pytest.fixture
def earlier(tmp_path: Path) -> dict[str, str]:
    """Variables under which ``python -m service`` is that of the earlier state.

    Skipped in a copy of the repository that has no history so far back, and where there is no HAProxy.
    """
    archive = tmp_path / "earlier.tar"
    made = subprocess.run(
        ["git", "archive", "-o", archive, EARLIER, "service", "sql", "workers"],
        cwd=CHECKOUT,
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"needs the history back to {EARLIER}")
    machine_program("haproxy")
    with tarfile.open(archive) as files:
        files.extractall(tmp_path, filter="data")
    return {"PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}


@pytest.fixture
async def there(small: Settings, earlier: dict[str, str]) -> AsyncIterator[FaultEnvironment]:
    """A course of 240 in a database that the earlier state has made."""
    async with empty_database() as url:
        settings = Settings(**small.model_dump() | {"database_url": url, "chunk_size": 20, "drain_delay": 2.5})
        async with installation(settings, fresh=True) as operator:
            migrating = await operator.start("migrate", **earlier)
            assert await migrating.end() == 0
        async with fault_environment(settings, students=240) as made:
            made.running.fresh = True
            yield made
        async with broker_client(settings) as cleaner:
            await cleaner.delete_topology()


async def test_an_earlier_state_is_replaced_under_load_and_no_request_fails(
    there: FaultEnvironment, earlier: dict[str, str]
) -> None:
    first, second = free_port(), free_port()
    gateways = {port: await there.running.api(CLARION_PORT=str(port), **earlier) for port in (first, second)}
    workers = [await there.running.start("worker", **earlier) for _ in range(2)]
    for worker in workers:
        await worker.logged("broker_connected", times=2)

    async with balancer([first, second, second]) as url, mixed_load(there, url) as load:
        await load.teacher.sent(await load.send(there.bulk(subject="Before")))
        migrated = await clarion(there.running.settings, "migrate")
        assert (migrated.code, migrated.out[:7]) == (0, "applied")
        await load.teacher.sent(await load.send(there.bulk(subject="By the earlier state, in the new schema")))
        for old in workers:
            await load.send(there.bulk(subject="Handed over between workers"))
            await load.send(there.private())
            await there.running.worker()
            assert await old.stop() == 0
        for port, gateway in gateways.items():
            await load.more(3)
            assert await gateway.stop() == 0
            await there.running.api(CLARION_PORT=str(port))
            await load.send(there.bulk(subject="By both kinds of gateways"))
        await load.more(3)

    await there.assert_all_sent()
    await there.until("SELECT count(*) = 0 FROM outbox")
    async with there.look() as conn:
        await load.assert_once(conn)
