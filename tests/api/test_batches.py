"""GET /api/v1/conversations/batches with state[], and the object of a batch (CONTRACT 3.1)."""

from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession

from service.domain.batch import BatchState
from tests.support.batches import Batches
from tests.support.gateway import PUBLIC_URL
from tests.support.http_calls import call

Token = Callable[..., Awaitable[dict[str, str]]]
PATH = "/conversations/batches"
SENDER = 1


@pytest.fixture
async def headers(token: Token) -> dict[str, str]:
    """The sender's."""
    return await token(SENDER)


@pytest.fixture
async def one_of_each(conn: asyncpg.Connection) -> dict[str, int]:
    """A batch in each state, in the order of the states."""
    batches, made = Batches(conn), {}
    for state in BatchState:
        made[state.value] = await batches.accept([11, 12], chunk_size=1)
        await batches.set_state(made[state], state)
    return made


async def test_with_states_batches_are_whole_and_the_newest_comes_first(
    client: ClientSession, headers: dict[str, str], one_of_each: dict[str, int]
) -> None:
    asked = ["sent", "scheduled", "paused", "error"]

    shown = await call(client, headers, "GET", PATH, params=[("state[]", state) for state in asked])

    ids = sorted((one_of_each[state] for state in asked), reverse=True)
    assert [batch["id"] for batch in shown] == ids
    assert shown == [await call(client, headers, "GET", f"{PATH}/{batch}") for batch in ids]
    assert all(one_of_each[batch["state"]] == batch["id"] for batch in shown)


async def test_without_states_they_are_canvases(
    client: ClientSession, headers: dict[str, str], one_of_each: dict[str, int]
) -> None:
    for query in ("", "?state[]=", "?state="):
        shown = await call(client, headers, "GET", PATH + query)
        assert [batch["id"] for batch in shown] == [one_of_each["created"], one_of_each["sending"]]
        assert all("state" not in batch for batch in shown)


@pytest.mark.parametrize("query", ["state[]=lost", "state[]=sent&state[]=Sent", "state=lost"])
async def test_an_unknown_state_is_refused(client: ClientSession, headers: dict[str, str], query: str) -> None:
    answer = await call(client, headers, "GET", f"{PATH}?{query}", status=400)
    assert answer == [{"attribute": "state", "message": "invalid"}]


async def test_pages_of_them(client: ClientSession, headers: dict[str, str], one_of_each: dict[str, int]) -> None:
    path: str | None = f"/api/v1{PATH}?per_page=3&" + "&".join(f"state[]={state}" for state in BatchState)
    found: list[int] = []
    while path is not None:
        async with client.get(path, headers=headers) as response:
            found += [batch["id"] for batch in await response.json()]
            following = response.links.get("next")
            assert "last" in response.links
        path = None if following is None else str(following["url"]).removeprefix(PUBLIC_URL)

    assert found == sorted(one_of_each.values(), reverse=True)


async def test_what_was_scheduled_and_what_went_wrong_as_a_whole_is_shown(
    client: ClientSession, headers: dict[str, str], conn: asyncpg.Connection, one_of_each: dict[str, int]
) -> None:
    await conn.execute("UPDATE batches SET send_at = '2030-01-02 03:04:05Z' WHERE state = 'scheduled'")
    await conn.execute("UPDATE batches SET error = 'sender_not_allowed' WHERE state = 'error'")

    shown = {state: await call(client, headers, "GET", f"{PATH}/{batch}") for state, batch in one_of_each.items()}

    assert {state: batch["send_at"] for state, batch in shown.items() if batch["send_at"]} == {
        "scheduled": "2030-01-02T03:04:05Z"
    }
    assert {state: batch["error"] for state, batch in shown.items() if batch["error"]} == {
        "error": "sender_not_allowed"
    }
    assert all(batch["workflow_state"] == batch["state"] == state for state, batch in shown.items())


class Clock:
    """A batch of 40 in chunks of ten, whose chunks were settled so many seconds ago."""

    def __init__(self, conn: asyncpg.Connection, batch: int) -> None:
        self._conn = conn
        self.batch = batch

    async def settled(self, **ago: float | None) -> None:
        """``c0=5``: the first chunk, five seconds ago. ``created``, ``finished``: the batch."""
        for name, seconds in ago.items():
            if name in {"created", "started", "finished"}:
                await self._conn.execute(f"UPDATE batches SET {name}_at = now() - $1 * interval '1 s'", seconds)
                if name == "finished":
                    await self._conn.execute("UPDATE batches SET state = 'sent'")
            else:
                await self._conn.execute(
                    "UPDATE chunks SET state = 'delivered', updated_at = now() - $2 * interval '1 s'"
                    " WHERE position = $1",
                    int(name.removeprefix("c")),
                    seconds,
                )


@pytest.fixture
async def clock(conn: asyncpg.Connection) -> Clock:
    batches = Batches(conn)
    batch = await batches.accept(range(11, 51), chunk_size=10)
    await batches.set_state(batch, "sending")
    return Clock(conn, batch)


@pytest.mark.parametrize(
    ("ago", "rate"),
    [
        ({"created": 60}, None),
        ({"created": 60, "started": 50, "c0": 50}, 0.0),
        ({"created": 60, "started": 50, "c0": 50, "c1": 8, "c2": 3}, 2.0),
        ({"created": 5, "started": 4, "c0": 4, "c1": 3, "c2": 1}, 6.0),
        ({"created": 3600, "started": 3600, "c0": 3600, "c1": 3005, "c2": 3003, "c3": 3000, "finished": 3000}, 3.0),
    ],
    ids=["not begun", "stands still", "the last ten seconds", "younger than that", "ended long ago"],
)
async def test_the_rate_is_that_of_the_last_seconds(
    *, client: ClientSession, headers: dict[str, str], clock: Clock, ago: dict[str, Any], rate: float | None
) -> None:
    """Not of a pause before, and of a batch that has ended, of its last."""
    await clock.settled(**ago)

    shown = await call(client, headers, "GET", f"{PATH}/{clock.batch}")

    # Some time has passed since.
    assert shown["recipients_per_second"] == (rate if not rate else pytest.approx(rate, rel=0.35))
    assert (shown["eta"] is not None) == (bool(rate) and "finished" not in ago)


async def test_of_a_fast_batch_the_newest_chunks_say_how_fast(conn: asyncpg.Connection) -> None:
    """All are settled within the last ten seconds, a chunk of two each millisecond."""
    batch = await Batches(conn).accept(range(11, 11 + 2000), chunk_size=2)
    await conn.execute(
        "UPDATE chunks SET state = 'delivered', updated_at = now() - (1000 - position) * interval '1 ms';"
        "UPDATE batches SET state = 'sending', created_at = now() - interval '1 hour', started_at = now()"
    )

    rate = await conn.fetchval(
        "SELECT batch_rate(b) FROM (SELECT (jsonb_populate_record(b, jsonb_build_object('finished_at',"
        " (SELECT max(updated_at) FROM chunks)))).* FROM batches b WHERE id = $1) b",
        batch,
    )

    assert rate == pytest.approx(2000)
