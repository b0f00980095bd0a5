"""A broker that is connected and takes nothing: the gateway serves, and says what it does without."""

import uuid
from typing import Any

import aiohttp
import asyncpg
import pytest

from deploy.rabbitmq import PrivateRabbitMQ
from service.api import server as http
from service.api.app import build_app
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from tests.support.private_servers import create_broker_user, set_memory_limit, take_permissions
from tests.support.waiting import until


class Gateway:
    """``shown``: what /readyz answered last."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session = session
        self.shown: dict[str, Any] = {}

    async def is_(self, status: str) -> bool:
        """Whether /readyz says 200 and this."""
        async with self._session.get("/readyz") as answer:
            assert answer.status == 200
            self.shown = await answer.json()
        return bool(self.shown["status"] == status)

    async def degraded(self) -> bool:
        """What the metric says of the broker."""
        async with self._session.get("/metrics") as answer:
            return 'clarion_degraded{part="broker"} 1.0' in (await answer.text()).splitlines()


@pytest.mark.parametrize("trouble", ["permissions", "memory"])
async def test_a_broker_that_takes_nothing_is_named(
    settings: Settings,
    pool: asyncpg.Pool,
    server: PrivateRabbitMQ,
    monkeypatch: pytest.MonkeyPatch,
    trouble: str,
) -> None:
    monkeypatch.setattr("service.runtime.publisher.TRY", 0.0)
    names = rf"^test-{uuid.uuid4().hex[:12]}\."
    url = await create_broker_user(server, configure=names, write=names + "|^amq.default$", read=names)
    own = Settings(**settings.model_dump() | {"amqp_url": url, "amqp_prefix": names[1:-2]})
    publisher = Publisher(own, "test")
    await publisher.broker.start()
    await until(lambda: publisher.connected)
    runner = await http.start(build_app(own, pool, publisher), host="127.0.0.1", port=0)
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
        gateway = Gateway(session)
        assert await gateway.is_("ok")
        assert not await gateway.degraded()

        if trouble == "permissions":
            await take_permissions(server, url)
            await until(lambda: gateway.is_("degraded"))
            assert "ACCESS_REFUSED" in gateway.shown["broker"]
            assert await gateway.degraded()
        else:
            await set_memory_limit(server, 0)
            try:
                # A connection is blocked by what it publishes, which the try of /readyz does.
                await until(lambda: gateway.is_("degraded"))
                assert "connection.blocked" in gateway.shown["broker"] or "answer" in gateway.shown["broker"]
                assert await gateway.degraded()
            finally:
                await set_memory_limit(server, 0.6)
            await until(lambda: gateway.is_("ok"))
    await runner.cleanup()
    await publisher.broker.stop()
