"""Ports for those who watch: a worker's probes, a gateway's figures."""

import aiohttp

from tests.support.fault_environment import FaultEnvironment
from tests.support.processes import free_port
from tests.support.waiting import until


async def test_a_worker_answers_probes_and_counts_what_it_delivers(there: FaultEnvironment) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    await there.running.api()
    worker = await there.running.worker(CLARION_WORKER_PORT=str(port))
    await there.send(there.bulk())
    await there.assert_all_sent()

    async with there.session.get(f"{url}/livez") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})
        assert answer.headers["Server"] == "clarion"
    async with there.session.get(f"{url}/readyz") as answer:
        assert (answer.status, await answer.json()) == (200, {"status": "ok"})
    async with there.session.get(f"{url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    assert f"clarion_recipients_delivered_total {len(there.school.students)}.0" in lines
    assert await worker.stop() == 0


async def test_a_worker_without_a_broker_is_not_ready(there: FaultEnvironment) -> None:
    port = free_port()
    await there.running.start(
        "worker", CLARION_WORKER_PORT=str(port), CLARION_AMQP_URL=f"amqp://guest:guest@127.0.0.1:{free_port()}/"
    )

    async def not_ready() -> bool:
        try:
            async with there.session.get(f"http://127.0.0.1:{port}/readyz") as answer:
                shown = await answer.json()
        except aiohttp.ClientConnectionError:
            return False
        assert (answer.status, shown["status"], shown["failing"]) == (503, "unavailable", ["broker"])
        return True

    await until(not_ready)


async def test_a_gateway_s_figures_have_a_port_of_their_own(there: FaultEnvironment) -> None:
    port = free_port()
    await there.running.api(CLARION_METRICS_PORT=str(port))
    await there.teacher.call("GET", "/conversations")

    async with there.session.get(f"http://127.0.0.1:{port}/metrics") as answer:
        text = await answer.text()
    assert answer.status == 200
    assert 'clarion_http_requests_total{method="GET",route="/api/v1/conversations",status="200"} 1.0' in text
    # What it reads only when it is asked is there as well.
    assert 'clarion_backlog{kind="recipients"} 0.0' in text
    assert f'clarion_queue_consumers{{queue="{there.running.settings.amqp_prefix}.requests"}} 0.0' in text
    async with there.session.get(f"{there.running.url}/metrics") as answer:
        assert answer.status == 404
    async with there.session.get(f"http://127.0.0.1:{port}/readyz") as answer:
        assert answer.status == 404
