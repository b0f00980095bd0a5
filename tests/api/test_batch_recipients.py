"""GET /api/v1/conversations/batches/:id/recipients (CONTRACT 3.1)."""

import csv
from collections.abc import Awaitable, Callable
from io import StringIO
from typing import Any, NamedTuple

import asyncpg
import pytest
from aiohttp import ClientSession

from service.api.keys import POOL
from service.application.messages.chunk import deliver_at_once
from service.application.messages.tag_sets import TagSets
from sql import chunks
from tests.support.batches import Batches
from tests.support.gateway import PUBLIC_URL, Api
from tests.support.http_calls import call
from tests.support.waiting import until

Token = Callable[..., Awaitable[dict[str, str]]]
COLUMNS = ["user_id", "state", "conversation_id", "message_id", "error", "updated_at"]
SENDER = 1
CSV = {"Accept": "text/csv"}


class Place(NamedTuple):
    """A batch to 12 people in six chunks: two delivered, one failed, one cancelled, two pending."""

    batch: int
    headers: dict[str, str]
    path: str


@pytest.fixture
async def place(conn: asyncpg.Connection, token: Token) -> Place:
    batch = await Batches(conn).accept(range(11, 23), chunk_size=2)
    for position in (0, 3):
        async with conn.transaction():
            await deliver_at_once(conn, TagSets(), batch, position, cause=None)
    await chunks.fail_chunk(conn, batch, 1, error="=1+1, the disk says", cause=None)
    await conn.execute(
        "UPDATE chunks SET state = 'skipped', error = 'cancelled' WHERE position = 4;"
        "UPDATE chunks SET recipients = '{16}', first_id = first_id + 1, skipped = 1 WHERE position = 2;"
        "UPDATE chunks SET error = 'try again' WHERE position = 5;"
        "INSERT INTO skipped_recipients SELECT id, 15, 'user_deleted', now() FROM batches;"
        "UPDATE batches SET skipped = 2"
    )
    return Place(batch, await token(SENDER), f"/conversations/batches/{batch}/recipients")


STATES = {
    11: "delivered", 12: "delivered", 13: "failed", 14: "failed", 15: "skipped", 16: "pending",
    17: "delivered", 18: "delivered", 19: "skipped", 20: "skipped", 21: "pending", 22: "pending",
}  # fmt: skip
ERRORS = {
    13: "delivery_failed: =1+1, the disk says", 14: "delivery_failed: =1+1, the disk says",
    15: "user_deleted", 19: "cancelled", 20: "cancelled",
}  # fmt: skip


async def test_each_recipient_has_a_state_and_a_reason(
    client: ClientSession, place: Place, conn: asyncpg.Connection
) -> None:
    shown = await call(client, place.headers, "GET", place.path, params={"per_page": 50})

    assert [list(row) for row in shown] == [COLUMNS] * 12
    assert {row["user_id"]: row["state"] for row in shown} == STATES
    assert [row["user_id"] for row in shown] == sorted(STATES)
    assert {row["user_id"]: row["error"] for row in shown if row["error"] is not None} == ERRORS
    copies = {
        row["user_id"]: row["conversation_id"]
        for row in await conn.fetch("SELECT user_id, conversation_id FROM participants WHERE user_id <> $1", SENDER)
    }
    assert {row["user_id"]: row["conversation_id"] for row in shown if row["conversation_id"]} == copies
    assert {row["user_id"]: row["message_id"] for row in shown if row["message_id"]} == copies


async def test_the_counters_of_the_batch_are_those_of_the_list(client: ClientSession, place: Place) -> None:
    """Also while a chunk that lost a recipient is not done."""
    batch = await call(client, place.headers, "GET", f"/conversations/batches/{place.batch}")

    counted = {state: list(STATES.values()).count(state) for state in ("delivered", "failed", "skipped")}
    assert {state: batch[state] for state in counted} == counted
    assert batch["total"] == len(STATES)


async def test_a_message_into_a_thread_that_was_there_is_named_with_it(
    client: ClientSession, token: Token, conn: asyncpg.Connection
) -> None:
    batches = Batches(conn)
    first, second = [await batches.accept([11, 12], chunk_size=2) for _ in range(2)]
    for batch in (first, second):
        async with conn.transaction():
            await deliver_at_once(conn, TagSets(), batch, 0, cause=None)

    headers = await token(SENDER)
    one, other = [
        await call(client, headers, "GET", f"/conversations/batches/{batch}/recipients") for batch in (first, second)
    ]

    assert [row["conversation_id"] for row in other] == [row["conversation_id"] for row in one]
    messages = await conn.fetch("SELECT id FROM messages ORDER BY id")
    assert [row["message_id"] for row in other] == [row["id"] for row in messages]


@pytest.mark.parametrize("state", ["pending", "delivered", "failed", "skipped"])
async def test_those_of_one_state(client: ClientSession, place: Place, state: str) -> None:
    shown = await call(client, place.headers, "GET", place.path, params={"state": state, "per_page": 50})

    assert [row["user_id"] for row in shown] == [user for user, has in STATES.items() if has == state]
    assert {row["state"] for row in shown} == {state}


@pytest.mark.parametrize("query", ["", "state=", "state=skipped&", "state=pending&"])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 12])
async def test_pages_follow_each_other_without_gaps_or_doubles(
    client: ClientSession, place: Place, query: str, size: int
) -> None:
    whole = await call(client, place.headers, "GET", f"{place.path}?{query}")
    assert len(whole) <= 10 or not query

    path: str | None = f"/api/v1{place.path}?{query}&per_page={size}"
    pages = []
    while path is not None:
        async with client.get(path, headers=place.headers) as response:
            pages.append(await response.json())
            following = response.links.get("next")
        path = None if following is None else str(following["url"]).removeprefix(PUBLIC_URL)
        assert path is None or "page=bookmark:" in path

    assert {len(page) for page in pages[:-1]} <= {size}
    assert [row for page in pages for row in page][: len(whole)] == whole
    found = [row["user_id"] for page in pages for row in page]
    assert found == sorted(set(found))


@pytest.mark.parametrize(
    ("query", "status", "answer"),
    [
        ("state=lost", 400, [{"attribute": "state", "message": "invalid"}]),
        ("state=DELIVERED", 400, [{"attribute": "state", "message": "invalid"}]),
        ("page=2", 400, None),
        ("page=bookmark:WyJhIiwxXQ", 400, None),  # of a search
    ],
)
@pytest.mark.parametrize("accept", [{}, CSV], ids=["json", "csv"])
async def test_what_cannot_be_listed(
    *, client: ClientSession, place: Place, query: str, status: int, answer: Any, accept: dict[str, str]
) -> None:
    if accept and answer is None:
        status = 200  # all of it, whatever page
    async with client.get(f"/api/v1{place.path}?{query}", headers=place.headers | accept) as response:
        assert response.status == status
        if answer is not None:
            assert await response.json() == answer


@pytest.mark.parametrize("accept", [{}, CSV], ids=["json", "csv"])
async def test_batches_of_others_and_unknown_ones_are_not_found(
    client: ClientSession, place: Place, token: Token, accept: dict[str, str]
) -> None:
    another = await token(2)
    for headers, path in (
        (another, place.path),
        (place.headers, "/conversations/batches/999999/recipients"),
        (place.headers, "/conversations/batches/x/recipients"),
    ):
        async with client.get(f"/api/v1{path}", headers=headers | accept) as response:
            assert response.status == 404


async def read_csv(client: ClientSession, place: Place, query: str = "") -> list[dict[str, str]]:
    """Lines by the names in the first."""
    async with client.get(f"/api/v1{place.path}{query}", headers=place.headers | CSV) as response:
        assert response.status == 200
        assert response.headers["Content-Type"].startswith("text/csv")
        return list(csv.DictReader(StringIO(await response.text(), newline="")))


async def test_the_csv_is_the_list(client: ClientSession, place: Place) -> None:
    shown = await call(client, place.headers, "GET", place.path, params={"per_page": 50})

    assert await read_csv(client, place) == [
        {name: "" if value is None else str(value) for name, value in row.items()} for row in shown
    ]
    assert [line["user_id"] for line in await read_csv(client, place, "?state=failed&per_page=1")] == ["13", "14"]


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (["text/csv"], "text/csv"),
        (["text/csv, application/json"], "text/csv"),
        (["text/csv, */*;q=0.8"], "text/csv"),
        (["*/*;q=0.1", "text/csv"], "text/csv"),
        (["text/*"], "text/csv"),
        (["text/csv;q=0"], "application/json"),
        (["application/json, text/csv;q=0.9"], "application/json"),
        (["application/json+canvas-string-ids, text/csv;q=0.9"], "application/json"),
        (["text/html, application/xhtml+xml, */*;q=0.8"], "application/json"),
        (["*/*"], "application/json"),
        ([], "application/json"),
    ],
)
async def test_csv_comes_where_it_is_not_wanted_less_than_json(
    client: ClientSession, place: Place, accept: list[str], expected: str
) -> None:
    headers = [*place.headers.items(), *(("Accept", value) for value in accept)]
    async with client.get(f"/api/v1{place.path}", headers=headers, skip_auto_headers=["Accept"]) as response:
        assert (response.status, response.content_type) == (200, expected)


async def test_a_csv_without_anybody_is_its_header(
    client: ClientSession, token: Token, conn: asyncpg.Connection
) -> None:
    batch = await Batches(conn).accept([11], chunk_size=1)
    async with client.get(
        f"/api/v1/conversations/batches/{batch}/recipients?state=failed", headers=await token(SENDER) | CSV
    ) as response:
        assert await response.read() == b"user_id,state,conversation_id,message_id,error,updated_at\r\n"


@pytest.mark.parametrize("error", ["=HYPERLINK(1)", "+1", "-1", "@sum", "\tx", "\rx"])
async def test_no_text_of_a_csv_is_a_formula(
    client: ClientSession, place: Place, conn: asyncpg.Connection, error: str
) -> None:
    await conn.execute("UPDATE chunks SET error = $1 WHERE state = 'skipped'", error)

    line = (await read_csv(client, place, "?state=skipped"))[-1]

    assert line["error"] == f"'{error}"


async def test_of_a_forgotten_batch_the_counters_are_shown_and_no_recipients(
    client: ClientSession, place: Place, conn: asyncpg.Connection, token: Token
) -> None:
    """An empty list would say that it had no recipients (CONTRACT 2, CLARION_RETENTION_DAYS)."""
    path = place.path.removesuffix("/recipients")
    await conn.execute(
        "UPDATE chunks SET state = 'delivered', skipped = 0;"
        "UPDATE batches SET state = 'error', failed = 2, finished_at = now()"
    )
    before = await call(client, place.headers, "GET", path)
    await conn.execute(
        "UPDATE batches SET forgotten_at = 'infinity'; DELETE FROM chunks; DELETE FROM skipped_recipients"
    )

    after = await call(client, place.headers, "GET", path)

    assert {name: after[name] for name in ("state", "total", "delivered", "failed", "skipped", "finished_at")} == {
        name: before[name] for name in ("state", "total", "delivered", "failed", "skipped", "finished_at")
    }
    assert after["total"] == 12
    for headers in (place.headers, place.headers | CSV):
        await call(client, headers, "GET", place.path, status=404)
    await call(client, place.headers, "POST", f"{path}/retry", status=409)
    (listed,) = await call(client, place.headers, "GET", "/conversations/batches", params={"state[]": "error"})
    assert listed["id"] == after["id"]


async def test_head_says_what_there_would_be(client: ClientSession, place: Place) -> None:
    for accept in ({}, CSV):
        async with client.head(f"/api/v1{place.path}", headers=place.headers | accept) as response:
            assert (response.status, await response.read()) == (200, b"")
        await call(client, place.headers, "GET", place.path)


async def test_no_connection_is_held_while_a_reader_takes_a_part(
    api: Api, token: Token, conn: asyncpg.Connection
) -> None:
    """More than the sockets hold; the session reads only what it is asked for."""
    recipients = range(11, 300_011)
    batch = await Batches(conn).accept(recipients, chunk_size=2000)
    path = f"/api/v1/conversations/batches/{batch}/recipients"
    async with api.session.get(path, headers=await token(SENDER) | CSV) as response:
        await until(lambda: api.app[POOL].get_idle_size() == api.app[POOL].get_size())
        users = [int(line.partition(b",")[0]) for line in (await response.read()).splitlines()[1:]]

    assert users == list(recipients)
