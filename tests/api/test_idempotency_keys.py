"""Idempotency-Key: one effect, and the first answer again, for whatever is repeated under it (CONTRACT 3.2 and 3.6)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import asyncpg
import orjson
import pytest
from aiohttp import web

from service.api.app import build_app
from service.api.authentication import caller
from service.api.database import connection
from service.api.publish import announce
from service.api.routing import register
from service.application.transactions import committed
from service.contracts.commands import PlanBatch
from service.domain.errors import Code, Refusal
from service.runtime.postgres import close_pool, create_pool
from service.runtime.publisher import Publisher
from service.runtime.settings import Settings
from sql.connection import Connection
from tests.support.broker import BrokerClient, broker_client
from tests.support.gateway import Api, publishing
from tests.support.institution import Institution
from tests.support.ledger import new_prefix
from tests.support.school import School
from tests.support.waiting import until

Token = Callable[..., Awaitable[dict[str, str]]]
Serve = Callable[[web.Application], Awaitable[aiohttp.ClientSession]]

CONVERSATIONS = "/api/v1/conversations"


@dataclass(frozen=True)
class Answer:
    """What a client gets, but for what is each request's own: its id, its cost, its quota and the date."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def replayed(self) -> bool:
        return self.headers.get("Idempotency-Replayed") == "true"

    @property
    def first(self) -> tuple[int, bytes, dict[str, str]]:
        """All of it but that it was given before."""
        return self.status, self.body, {k: v for k, v in self.headers.items() if k != "Idempotency-Replayed"}


OWN = {"X-Request-Context-Id", "X-Request-Cost", "X-Rate-Limit-Remaining", "Date"}


def refusal(answer: Answer, message: str) -> tuple[int, str]:
    """Its status and what it says, when it looks as a refusal of a key does."""
    assert answer.body == b'[{"attribute":"idempotency_key","message":"%s"}]' % message.encode()
    assert not answer.replayed
    return answer.status, message


@dataclass(frozen=True)
class Client:
    """A user of the gateway."""

    session: aiohttp.ClientSession
    headers: dict[str, str]

    async def ask(self, method: str, path: str, key: str | None, **sent: Any) -> Answer:
        """One request; ``sent`` goes to aiohttp."""
        headers = self.headers | ({} if key is None else {"Idempotency-Key": key}) | sent.pop("headers", {})
        async with self.session.request(method, path, headers=headers, **sent) as response:
            own = {name: value for name, value in response.headers.items() if name not in OWN}
            return Answer(response.status, await response.read(), own)

    async def send(self, key: str | None = "key", path: str = CONVERSATIONS, **sent: Any) -> Answer:
        """A new message."""
        return await self.ask("POST", path, key, **sent)


@pytest.fixture
async def teacher(client: aiohttp.ClientSession, token: Token, school: School) -> Client:
    return Client(client, await token(school.teacher))


@pytest.fixture
def hello(school: School) -> dict[str, Any]:
    """A message of the teacher to one student."""
    return {"recipients": [str(school.students[0])], "body": "Hello"}


async def count(conn: asyncpg.Connection, table: str) -> int:
    found: int = await conn.fetchval(f"SELECT count(*) FROM {table}")
    return found


async def test_what_is_repeated_is_answered_as_before_byte_for_byte(
    teacher: Client, hello: dict[str, Any], conn: asyncpg.Connection
) -> None:
    first = await teacher.send(json=hello)
    await teacher.send(None, json=hello)  # the conversation has another message meanwhile
    again = [await teacher.send(json=hello) for _ in range(2)]

    assert (first.status, first.replayed) == (201, False)
    assert [(each.first, each.replayed) for each in again] == [(first.first, True)] * 2
    assert await count(conn, "sends") == 2


async def test_what_has_no_key_is_sent_each_time(
    teacher: Client, hello: dict[str, Any], conn: asyncpg.Connection
) -> None:
    for number in range(2):
        assert not (await teacher.send(None, json=hello)).replayed
        assert await count(conn, "sends") == number + 1
    assert await count(conn, "idempotency_keys") == 0


async def test_form_query_and_json_and_however_the_key_is_written_it_is_one_request(
    teacher: Client, school: School, conn: asyncpg.Connection
) -> None:
    student = school.students[0]
    pairs = [("recipients[]", str(student)), ("body", "Hello"), ("force_new", "true")]
    sent: dict[str, Any] = {"recipients": [str(student)], "body": "Hello", "force_new": True}
    first = await teacher.send('"a key"', json=sent)
    again = [
        await teacher.send("a key", data=aiohttp.FormData(pairs)),
        await teacher.send("a key", data=aiohttp.FormData(pairs, default_to_multipart=True)),
        await teacher.send("a key", params=pairs),
        await teacher.send("a key", f"{CONVERSATIONS}.json", json=dict(reversed(sent.items()))),
        await teacher.send("a key", json=sent, params={"access_token": "of another session"}),
    ]

    assert first.status == 201
    assert [(each.first, each.replayed) for each in again] == [(first.first, True)] * 5
    assert await count(conn, "sends") == 1


async def test_another_request_under_the_key_is_refused_and_has_no_effect(
    teacher: Client, school: School, hello: dict[str, Any], conn: asyncpg.Connection
) -> None:
    first = await teacher.send(json=hello)
    id_ = await conn.fetchval("SELECT conversation_id FROM participants LIMIT 1")
    for answer in (
        await teacher.send(json=hello | {"body": "Goodbye"}),
        await teacher.send(json=hello, params={"scope": "sent"}),
        await teacher.send(path=f"{CONVERSATIONS}/{id_}/add_message", json=hello),
        await teacher.ask("PUT", CONVERSATIONS, "key", json=hello),
    ):
        assert refusal(answer, "used for another request")[0] == 422

    assert (await teacher.send(json=hello)).first == first.first
    assert await count(conn, "sends") == 1


@asynccontextmanager
async def locked(url: str, table: str) -> AsyncIterator[None]:
    """Meanwhile everybody waits who would write to the table."""
    holder = await asyncpg.connect(url)
    try:
        async with holder.transaction():
            await holder.execute(f"LOCK TABLE {table} IN SHARE MODE")
            yield
    finally:
        await holder.close()


async def waiting_for(conn: asyncpg.Connection, table: str) -> bool:
    found: bool = await conn.fetchval(
        "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass", table
    )
    return found


async def test_while_the_first_is_running_the_second_is_refused_at_once(
    teacher: Client, hello: dict[str, Any], conn: asyncpg.Connection, database_url: str
) -> None:
    async with locked(database_url, "sends"):
        first = asyncio.create_task(teacher.send(json=hello))
        await until(lambda: waiting_for(conn, "sends"))
        second = await teacher.send(json=hello)
        other = await teacher.send(json=hello | {"body": "Goodbye"})
        assert not first.done()

    assert refusal(second, "still running")[0] == refusal(other, "still running")[0] == 409
    assert (await first).status == 201
    assert (await teacher.send(json=hello)).first == (await first).first
    assert await count(conn, "sends") == 1


UNUSABLE = {
    "": "blank",
    '""': "blank",
    "k" * 256: "too_long",
    '"open': "invalid",
    '"one", "two"': "invalid",
}


@pytest.mark.parametrize("header", UNUSABLE)
async def test_a_key_that_cannot_be_used_is_refused(
    teacher: Client, hello: dict[str, Any], conn: asyncpg.Connection, header: str
) -> None:
    assert refusal(await teacher.send(header, json=hello), UNUSABLE[header])[0] == 400
    assert await count(conn, "sends") == await count(conn, "idempotency_keys") == 0


async def test_two_keys_are_none(teacher: Client, hello: dict[str, Any]) -> None:
    both = Client(teacher.session, {})
    headers = [*teacher.headers.items(), ("Idempotency-Key", "one"), ("Idempotency-Key", "two")]
    async with both.session.post(CONVERSATIONS, headers=headers, json=hello) as response:
        assert response.status == 400
        assert (await response.json())[0]["attribute"] == "idempotency_key"


@pytest.mark.parametrize("key", ["k" * 255, '"%s"' % ("k" * 255), "\u00e9\U0001f44b", 'a"b', "' OR true --"])
async def test_a_key_of_up_to_255_characters_can_be_used(teacher: Client, hello: dict[str, Any], key: str) -> None:
    first = await teacher.send(key, json=hello)

    assert first.status == 201
    assert (await teacher.send(key, json=hello)).replayed


async def test_what_only_reads_takes_no_key(teacher: Client, conn: asyncpg.Connection) -> None:
    assert (await teacher.ask("GET", CONVERSATIONS, '"open')).status == 200
    assert (await teacher.send('"open', data={"_method": "GET"})).status == 200
    assert (await teacher.send("key", data={"_method": "GET"})).status == 200
    assert await count(conn, "idempotency_keys") == 0


async def test_a_post_that_means_another_method_takes_one(
    teacher: Client, hello: dict[str, Any], conn: asyncpg.Connection
) -> None:
    await teacher.send("first", json=hello)
    path = f"{CONVERSATIONS}/{await conn.fetchval('SELECT conversation_id FROM participants LIMIT 1')}"
    deleted = await teacher.send("second", path, headers={"X-HTTP-Method-Override": "DELETE"})
    await teacher.send("third", json=hello)  # brings it back

    again = await teacher.send("second", path, data={"_method": "delete"})
    meant = await teacher.ask("POST", path, "second", data={"_method": "put"})

    assert (deleted.status, again.first, again.replayed) == (200, deleted.first, True)
    assert meant.status == 422
    seen = await teacher.ask("GET", path, None)
    assert b'"Hello"' in seen.body


async def test_a_refusal_is_repeated_whatever_has_changed_meanwhile(
    teacher: Client, school: School, institution: Institution, conn: asyncpg.Connection
) -> None:
    unrelated = await institution.user()
    asked = {"recipients": [str(unrelated)], "body": "Hello"}
    first = await teacher.send(json=asked)
    await institution.enroll(school.course, unrelated)

    again = await teacher.send(json=asked)

    assert (first.status, first.body) == (400, b'[{"attribute":"recipients","message":"invalid"}]')
    assert (again.first, again.replayed) == (first.first, True)
    assert (await teacher.send("another", json=asked)).status == 201
    assert await count(conn, "sends") == 1


async def test_an_unknown_conversation_and_parameters_of_a_wrong_kind_are_such_refusals(teacher: Client) -> None:
    for status, path, sent in (
        (404, f"{CONVERSATIONS}/424242/add_message", {"body": "Hello"}),
        (400, CONVERSATIONS, {"recipients": ["1"] * 10_001, "body": "Hello"}),
    ):
        first, again = [await teacher.send(f"key {status}", path, json=sent) for _ in range(2)]
        assert (first.status, first.replayed, again.first, again.replayed) == (status, False, first.first, True)


async def test_a_401_or_422_leaves_the_key_free(
    teacher: Client, hello: dict[str, Any], conn: asyncpg.Connection, institution: Institution, school: School
) -> None:
    await teacher.send(None, json=hello)
    path = f"{CONVERSATIONS}/{await conn.fetchval('SELECT conversation_id FROM participants LIMIT 1')}/add_message"

    assert (await teacher.send("key", path, json={"body": "x" * 65_536})).status == 422
    assert (await teacher.send("key", path, json={"body": "x"}, params={"as_user_id": "424242"})).status == 401
    assert await count(conn, "idempotency_keys") == 0
    assert (await teacher.send("key", path, json={"body": "x"})).status == 200


async def test_the_key_is_the_users_for_whom_it_is_done(
    *,
    teacher: Client,
    school: School,
    hello: dict[str, Any],
    token: Token,
    institution: Institution,
    conn: asyncpg.Connection,
) -> None:
    admin, other = await institution.users(2)
    await institution.admin(admin)
    await institution.enroll(school.course, [admin, other], "Teacher")
    acting, second = Client(teacher.session, await token(admin)), Client(teacher.session, await token(other))
    as_teacher = {"as_user_id": str(school.teacher)}

    first = await acting.send(json=hello, params=as_teacher)
    of_the_teacher = await teacher.send(json=hello)
    once_more = await acting.send(json=hello, params=as_teacher)
    of_others = [await acting.send(json=hello), await second.send(json=hello)]

    assert (first.status, first.replayed) == (201, False)
    assert [(each.first, each.replayed) for each in (of_the_teacher, once_more)] == [(first.first, True)] * 2
    assert [(each.status, each.replayed) for each in of_others] == [(201, False)] * 2
    authors = await conn.fetch("SELECT author_id FROM sends")
    assert sorted(row["author_id"] for row in authors) == sorted([school.teacher, admin, other])


async def test_ids_are_written_as_the_first_asked_for_them(teacher: Client, hello: dict[str, Any]) -> None:
    first = await teacher.send(json=hello, headers={"Accept": "application/json+canvas-string-ids"})
    again = await teacher.send(json=hello)

    assert b'"id":"' in first.body
    assert again.first == first.first


async def write(conn: Connection, *, batch: int, user: int) -> None:
    await conn.execute("INSERT INTO skipped_recipients VALUES ($1, $2, 'cancelled', now())", batch, user)


class Fragile:
    """A route that writes, commands, and fails as often as it has errors left."""

    def __init__(self) -> None:
        self.errors: list[Exception] = []
        self.attempts = 0

    async def answer(self, request: web.Request) -> web.Response:
        """Commits once, as it believes, and again."""
        self.attempts += 1
        user_id = caller(request).user_id
        async with connection(request) as conn:
            await committed(conn, lambda: write(conn, batch=1, user=user_id))
        announce(request, PlanBatch(batch_id=self.attempts))
        async with connection(request) as conn:
            await committed(conn, lambda: self._go_on(conn, user_id))
        return web.Response(status=204)

    async def _go_on(self, conn: Connection, user_id: int) -> None:
        await write(conn, batch=2, user=user_id)
        if self.errors:
            raise self.errors.pop()


@pytest.fixture
def fragile() -> Fragile:
    return Fragile()


@pytest.fixture
async def private_settings(edge_settings: Settings) -> AsyncIterator[Settings]:
    """Queues of the test's own, so that commands are counted."""
    made = edge_settings.model_copy(update={"amqp_prefix": new_prefix()})
    yield made
    async with broker_client(made) as cleaner:
        await cleaner.delete_topology()


@pytest.fixture
async def outside(private_settings: Settings, fragile_client: Client) -> AsyncIterator[BrokerClient]:
    """A look at the queues."""
    async with broker_client(private_settings) as made:
        yield made


async def commanded(outside: BrokerClient, how_many: int) -> list[int]:
    """The batches of the first commands to plan one."""
    await outside.waiting("plan", how_many)
    queue = await outside.channel.get_queue(outside.topology.command_queue("plan"), ensure=False)
    messages = [await queue.get(no_ack=True) for _ in range(how_many)]
    return [orjson.loads(message.body)["batch_id"] for message in messages]


@pytest.fixture
async def fragile_client(
    *, private_settings: Settings, pool: asyncpg.Pool, serve: Serve, fragile: Fragile, token: Token, school: School
) -> AsyncIterator[Client]:
    """A user of a gateway with the fragile route."""
    async with publishing(private_settings) as publisher:
        app = build_app(private_settings, pool, publisher)
        register(app, [web.post("/api/v1/fragile", fragile.answer)])
        yield Client(await serve(app), await token(school.teacher))


@pytest.mark.parametrize("error", [LookupError("a fault of ours"), ConnectionError("the database is away")])
async def test_a_fault_leaves_neither_key_nor_effect_nor_command(
    fragile_client: Client, fragile: Fragile, error: Exception, conn: asyncpg.Connection, outside: BrokerClient
) -> None:
    """Also what the route has committed before, as it would without a key."""
    fragile.errors.append(error)
    assert (await fragile_client.send("key", "/api/v1/fragile")).status in (500, 503)
    assert await count(conn, "idempotency_keys") == await count(conn, "skipped_recipients") == 0

    first, again = [await fragile_client.send("key", "/api/v1/fragile") for _ in range(2)]
    assert (first.status, first.body, again.first, again.replayed) == (204, b"", first.first, True)
    assert await count(conn, "skipped_recipients") == 2
    assert await commanded(outside, 1) == [fragile.attempts] == [2]


async def test_a_refusal_after_an_effect_leaves_the_key_alone(
    fragile_client: Client, fragile: Fragile, conn: asyncpg.Connection
) -> None:
    fragile.errors.append(Refusal(Code.NOT_FOUND))
    assert (await fragile_client.send("key", "/api/v1/fragile")).status == 404

    assert (await count(conn, "idempotency_keys"), await count(conn, "skipped_recipients")) == (1, 0)


async def test_after_a_conflict_with_others_it_runs_again_and_commands_once(
    fragile_client: Client, fragile: Fragile, conn: asyncpg.Connection, outside: BrokerClient
) -> None:
    fragile.errors.append(asyncpg.DeadlockDetectedError("two transactions in each other's way"))

    assert (await fragile_client.send("key", "/api/v1/fragile")).status == 204
    assert await count(conn, "skipped_recipients") == 2
    assert await commanded(outside, 1) == [fragile.attempts] == [2]


async def test_what_is_repeated_commands_nothing(
    fragile_client: Client, school: School, conn: asyncpg.Connection, outside: BrokerClient
) -> None:
    to = {"recipients": [f"course_{school.course}"], "mode": "async", "group_conversation": True, "bulk_message": True}
    first, again, other = [await fragile_client.send(key, json=to | {"body": key}) for key in ("one", "one", "two")]

    batches = [row["id"] for row in await conn.fetch("SELECT id FROM batches ORDER BY id")]
    assert (first.status, first.body) == (202, b"[]")
    assert (again.first, again.replayed, other.replayed) == (first.first, True, False)
    assert [int(each.headers["X-Conversation-Batch-Id"]) for each in (first, other)] == batches
    assert await commanded(outside, 2) == batches


@pytest.fixture
async def hasty(
    edge_settings: Settings, broker: Publisher, serve: Serve, token: Token, school: School
) -> AsyncIterator[Client]:
    """A user of a gateway that has a second for each request."""
    settings = edge_settings.model_copy(update={"request_timeout": 1.0})
    pool = await create_pool(settings, within=settings.request_timeout)
    yield Client(await serve(build_app(settings, pool, broker)), await token(school.teacher))
    await close_pool(pool)


async def test_what_is_given_up_in_time_leaves_no_key(
    hasty: Client, hello: dict[str, Any], conn: asyncpg.Connection, database_url: str
) -> None:
    async with locked(database_url, "participants"):
        late = await hasty.send(json=hello)
    assert (late.status, await count(conn, "idempotency_keys"), await count(conn, "sends")) == (503, 0, 0)

    again = await hasty.send(json=hello)
    assert (again.status, again.replayed) == (201, False)


async def test_the_throttle_comes_first(
    *,
    edge_settings: Settings,
    pool: asyncpg.Pool,
    broker: Publisher,
    serve: Serve,
    token: Token,
    school: School,
    hello: dict[str, Any],
    conn: asyncpg.Connection,
) -> None:
    settings = edge_settings.model_copy(
        update={"throttle_maximum": 100, "throttle_high_water": 10, "throttle_outflow": 0.001, "throttle_preflight": 1}
    )
    throttled = Client(await serve(build_app(settings, pool, broker)), await token(school.teacher))
    assert (await throttled.send(json=hello)).status == 201
    await conn.execute("UPDATE throttle_buckets SET empties_at = now() + interval '1 day'")

    for key in ("key", '"open', "another"):
        assert (await throttled.send(key, json=hello)).status == 429

    await conn.execute("UPDATE throttle_buckets SET empties_at = now()")
    assert (await throttled.send(json=hello)).replayed
    assert await count(conn, "idempotency_keys") == 1


async def test_after_its_day_the_key_is_free(teacher: Client, hello: dict[str, Any], conn: asyncpg.Connection) -> None:
    await teacher.send(json=hello)
    await conn.execute("UPDATE idempotency_keys SET created_at = now() - interval '24 hours 1 second'")

    again = await teacher.send(json=hello | {"body": "Goodbye"})

    assert (again.status, again.replayed) == (201, False)
    assert (await teacher.send(json=hello | {"body": "Goodbye"})).first == again.first
    assert await count(conn, "sends") == 2


async def test_who_may_not_ask_has_no_key(api: Api, hello: dict[str, Any], conn: asyncpg.Connection) -> None:
    unknown = Client(api.session, {"Authorization": "Bearer none"})

    assert (await unknown.send('"open', json=hello)).status == 401
    assert await count(conn, "idempotency_keys") == 0
