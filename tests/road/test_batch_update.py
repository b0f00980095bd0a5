"""PUT /conversations over HTTP, RabbitMQ and PostgreSQL, with real processes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.conversations import Threads
from tests.support.institution import Institution
from tests.support.processes import Client, Installation
from tests.support.waiting import PATIENCE

AsUser = Callable[[int], Awaitable[Client]]


async def finished(client: Client, progress: dict[str, Any]) -> dict[str, Any]:
    """The progress at its end, asked for over and over as a client would; completion never goes back."""
    seen = 0.0
    async with asyncio.timeout(PATIENCE):
        while True:
            status, found, _ = await client.call("GET", f"/progress/{progress['id']}")
            assert status == 200, found
            assert found["completion"] >= seen
            seen = found["completion"]
            if found["workflow_state"] not in ("queued", "running"):
                return dict(found)


async def test_a_batch_update_is_carried_out_by_a_worker(
    running: Installation, institution: Institution, threads: Threads, as_user: AsUser
) -> None:
    """500 at once, one of them another user's; then the same again with another event."""
    me, ann, ben = await institution.users(3)
    made = [await threads.private(ann, me) for _ in range(499)]
    foreign = await threads.private(ann, ben)
    await running.api()
    await running.worker()
    client = await as_user(me)

    ids = [*(str(id_) for id_ in made), str(foreign)]
    status, progress, _ = await client.call("PUT", "/conversations", json={"conversation_ids": ids, "event": "archive"})
    assert status == 200
    done = await finished(client, progress)

    assert (done["workflow_state"], done["completion"]) == ("completed", 100.0)
    assert done["message"] == (
        f"499 conversations processed\nThe user is not participating in this conversation: {foreign}"
    )
    _, count, _ = await client.call("GET", "/conversations/unread_count")
    assert count == {"unread_count": "0"}

    _, progress, _ = await client.call("PUT", "/conversations", json={"conversation_ids": ids, "event": "destroy"})
    await finished(client, progress)
    for scope in ("archived", "inbox", "sent", "starred"):
        assert (await client.call("GET", f"/conversations?scope={scope}"))[1] == []


async def test_accepting_does_not_need_the_broker(
    running: Installation, institution: Institution, threads: Threads, as_user: AsUser
) -> None:
    """What was accepted without a broker is swept up once there is one."""
    me, ann = await institution.users(2)
    made = await threads.private(ann, me)
    gateway = await running.start("api", CLARION_AMQP_URL="amqp://127.0.0.1:1/")
    await gateway.logged("api_started")
    client = await as_user(me)

    sent = {"conversation_ids": [made], "event": "star"}
    status, progress, _ = await client.call("PUT", "/conversations", json=sent)
    assert (status, progress["workflow_state"]) == (200, "queued")

    await running.worker()
    done = await finished(client, progress)
    assert (done["workflow_state"], done["message"]) == ("completed", "1 conversation processed")
    _, starred, _ = await client.call("GET", "/conversations?scope=starred")
    assert [c["id"] for c in starred] == [made]
