"""POST /conversations/batches/:id/cancel, /pause, /resume, /retry (CONTRACT 3.1 and 3.6)."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest

from service.contracts.commands import PlanBatch
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql.chunks import fail_chunk
from tests.support.batch_story import ALLOWED
from tests.support.batches import Batches
from tests.support.broker import BrokerClient, broker_client
from tests.support.gateway import Api, publishing
from tests.support.http_calls import NOT_FOUND, call
from tests.support.institution import Institution
from tests.support.ledger import new_prefix
from tests.support.school import School

Token = Callable[..., Awaitable[dict[str, str]]]
MOVES = sorted(ALLOWED)
FROM = {"cancel": "sending", "pause": "sending", "resume": "paused", "retry": "error"}
TO = {"cancel": "cancelled", "pause": "paused", "resume": "sending", "retry": "sending"}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Queues of the test's own, so that a command is found."""
    return settings.model_copy(update={"amqp_prefix": new_prefix()})


@pytest.fixture
async def broker(settings: Settings) -> AsyncIterator[Publisher]:
    """A gateway's connection to the broker, for these queues."""
    async with publishing(settings) as publisher:
        yield publisher


@pytest.fixture
async def outside(settings: Settings, api: Api) -> AsyncIterator[BrokerClient]:
    """A look at the gateway's queues; removes them in the end."""
    async with broker_client(settings) as made:
        yield made
        await made.delete_topology()


@pytest.fixture
async def batch(conn: asyncpg.Connection, school: School) -> int:
    """The teacher's, in three chunks of two, the first of which was given up; sending."""
    made = await Batches(conn).accept(school.students[:6], chunk_size=2, sender=school.teacher)
    await fail_chunk(conn, made, 0, error="no", cause=None)
    return made


@pytest.fixture
async def teacher(token: Token, school: School) -> dict[str, str]:
    """The sender's header."""
    return await token(school.teacher)


def path(batch: int | str, move: str) -> str:
    return f"/conversations/batches/{batch}/{move}"


@pytest.mark.parametrize("move", MOVES)
async def test_a_move_answers_with_the_batch(
    *, client: aiohttp.ClientSession, teacher: dict[str, str], conn: asyncpg.Connection, batch: int, move: str
) -> None:
    await Batches(conn).set_state(batch, FROM[move])

    moved = await call(client, teacher, "POST", path(batch, move))

    assert moved["workflow_state"] == TO[move]
    shown = await call(client, teacher, "GET", f"/conversations/batches/{batch}")
    assert moved.keys() == shown.keys()
    assert {name: moved[name] for name in ("id", "total", "delivered", "failed", "skipped", "message")} == {
        name: shown[name] for name in ("id", "total", "delivered", "failed", "skipped", "message")
    }


@pytest.mark.parametrize("move", MOVES)
async def test_a_move_that_the_state_does_not_allow_is_a_conflict(
    *, client: aiohttp.ClientSession, teacher: dict[str, str], conn: asyncpg.Connection, batch: int, move: str
) -> None:
    state = {"cancel": "cancelled", "pause": "paused", "resume": "sending", "retry": "sending"}[move]
    await Batches(conn).set_state(batch, state)
    before = await conn.fetch("SELECT * FROM batches")

    refused = await call(client, teacher, "POST", path(batch, move), status=409)

    assert refused == [{"attribute": "state", "message": f"does not allow to {move}"}]
    assert await conn.fetch("SELECT * FROM batches") == before
    assert await conn.fetchval("SELECT count(*) FROM outbox") == 0


@pytest.mark.parametrize("move", MOVES)
async def test_what_is_no_batch_of_the_caller_is_not_found(
    *, client: aiohttp.ClientSession, token: Token, school: School, batch: int, move: str
) -> None:
    other = await token(school.students[0])
    for headers, asked in ((other, batch), (await token(school.teacher), batch + 1), (other, "nonsense")):
        assert await call(client, headers, "POST", path(asked, move), status=404) == NOT_FOUND


@pytest.mark.parametrize("move", MOVES)
async def test_a_token_needs_the_scope_of_the_move(
    *, client: aiohttp.ClientSession, token: Token, school: School, conn: asyncpg.Connection, batch: int, move: str
) -> None:
    await Batches(conn).set_state(batch, FROM[move])
    mine = f"url:POST|/api/v1/conversations/batches/:id/{move}"
    another = "url:GET|/api/v1/conversations/batches/:id"

    await call(client, await token(school.teacher, scopes=[another]), "POST", path(batch, move), status=401)
    await call(client, await token(school.teacher, scopes=[mine]), "POST", path(batch, move))


@pytest.mark.parametrize("move", MOVES)
async def test_who_acts_as_the_sender_moves_what_is_within_reach(
    *,
    client: aiohttp.ClientSession,
    token: Token,
    institution: Institution,
    school: School,
    conn: asyncpg.Connection,
    batch: int,
    move: str,
) -> None:
    administrator = await institution.user("Administrator")
    await institution.admin(administrator)
    await institution.associate(school.teacher)
    await Batches(conn).set_state(batch, FROM[move])
    headers, acting = await token(administrator), f"?as_user_id={school.teacher}"
    await conn.execute("UPDATE sends SET root_account_ids = '{1,77}'")
    await call(client, headers, "POST", path(batch, move) + acting, status=404)

    await conn.execute("UPDATE sends SET root_account_ids = '{1}'")
    await call(client, headers, "POST", path(batch, move) + acting)


@pytest.mark.parametrize("move", MOVES)
async def test_workers_are_called_where_something_goes_on(
    *,
    client: aiohttp.ClientSession,
    teacher: dict[str, str],
    conn: asyncpg.Connection,
    outside: BrokerClient,
    batch: int,
    move: str,
) -> None:
    await Batches(conn).set_state(batch, FROM[move])

    await call(client, teacher, "POST", path(batch, move))

    if move in ("resume", "retry"):
        await outside.waiting("plan", 1)
        queue = await outside.channel.get_queue(outside.topology.command_queue("plan"), ensure=False)
        message = await queue.get(no_ack=True)
        assert orjson.loads(message.body) == PlanBatch(batch_id=batch).model_dump()
    else:
        await call(client, teacher, "POST", path(batch, "retry" if move == "cancel" else "resume"))
        await outside.waiting("plan", 1)  # of this one only


@pytest.mark.parametrize("move", MOVES)
async def test_each_move_is_told_once_with_its_cause(
    *, client: aiohttp.ClientSession, teacher: dict[str, str], conn: asyncpg.Connection, batch: int, move: str
) -> None:
    await Batches(conn).set_state(batch, FROM[move])

    await call(client, teacher, "POST", path(batch, move))
    await call(client, teacher, "POST", path(batch, move), status=409)

    (row,) = await conn.fetch("SELECT event, moves, body, cause FROM outbox WHERE lane = 16")
    event = {"cancel": "batch_finished", "pause": "batch_paused"}.get(move, "batch_resumed")
    counts: dict[str, Any] = {"total": "6", "delivered": "0", "failed": "2", "skipped": "0", "state": TO[move]}
    counts |= {"cancel": {"skipped": "4"}, "retry": {"failed": "0"}}.get(move, {})
    assert (row["event"], row["moves"]) == (event, 1)
    assert orjson.loads(row["body"]) == {"batch_id": str(batch), **counts}
    assert orjson.loads(row["cause"])["http_method"] == "POST"


async def test_by_get_nothing_is_moved(client: aiohttp.ClientSession, teacher: dict[str, str], batch: int) -> None:
    for move in MOVES:
        await call(client, teacher, "GET", path(batch, move), status=404)
