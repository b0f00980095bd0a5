"""A batch that is followed: the bar, the event stream and what stands in for it, Ctrl-C (CONTRACT 3.4)."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import asyncpg
import pytest

from service.client.batch_events import Pace, watch_batch
from service.client.batches import Batch
from service.client.http import Client
from tests.cli.conftest import Person
from tests.support.processes import Installation
from tests.support.tcp_proxy import TcpProxy, tcp_proxy

_ENDED = "UPDATE batches SET delivered = 225, failed = 0, skipped = 25, state = $1, error = $2, finished_at = now()"


@pytest.fixture
async def proxy(running: Installation) -> AsyncIterator[TcpProxy]:
    """Between the client and the gateway."""
    async with tcp_proxy("127.0.0.1", running.settings.port) as made:
        yield made


@pytest.fixture
def behind(teacher: Person, proxy: TcpProxy) -> Person:
    """The teacher, who asks through the proxy."""
    return teacher.at(f"http://127.0.0.1:{proxy.port}")


async def test_the_bar_shows_how_far_a_batch_has_come(teacher: Person, batch: str, conn: asyncpg.Connection) -> None:
    await conn.execute("UPDATE batches SET delivered = 50, state = 'sending'")
    command = await teacher.on_terminal("batch", "watch", batch)

    await command.shows("50 of 250 delivered")
    assert f"batch {batch} sending" in command.shown
    assert "20%" in command.shown
    assert "100%" not in command.shown
    await conn.execute("UPDATE batches SET delivered = 200, failed = 25, total = 2250")
    await command.shows("200 of 2,250 delivered, 25 failed")
    assert "10%" in command.shown
    await conn.execute("UPDATE batches SET total = 250")
    await conn.execute(_ENDED, "sent", None)

    assert await command.end() == 0
    assert "225 of 250 delivered, 25 skipped" in command.shown
    assert "100%" in command.shown
    assert f"batch {batch} sent" in command.shown


async def test_a_batch_for_later_says_when_it_starts(teacher: Person, to_course: list[str]) -> None:
    year = datetime.now(UTC).year + 1
    sent = json.loads((await teacher(*to_course, "--at", f"{year}-01-01T20:00Z", "--json")).out)

    watching = await teacher.on_terminal("batch", "watch", str(sent["id"]))

    await watching.shows(f"starts {year}-01-02 05:00:00 JST, 250 recipients")
    watching.interrupt()
    assert await watching.end() == 130


async def test_rate_and_time_left_are_those_of_the_service(
    teacher: Person, batch: str, conn: asyncpg.Connection
) -> None:
    """Four a second, and two hundred to go."""
    await conn.execute("UPDATE batches SET delivered = 50, state = 'sending'")
    document = json.loads((await teacher("batch", "show", batch, "--json")).out)

    shown = Batch.read(document | {"recipients_per_second": 4.0})

    assert shown.seconds_left == 50
    assert Batch.read(document | {"recipients_per_second": None}).seconds_left is None


@pytest.mark.parametrize(("state", "code"), [("sent", 0), ("cancelled", 0), ("error", 1)])
async def test_only_a_batch_in_error_is_a_failure(
    teacher: Person, batch: str, conn: asyncpg.Connection, *, state: str, code: int
) -> None:
    await conn.execute(_ENDED, state, "[red]\x1b[31mno" if code else None)

    text = await teacher("batch", "watch", batch)
    as_json = await teacher("batch", "watch", batch, "--json")

    last = f"batch {batch} {state}: 225 of 250 delivered, 25 skipped"
    assert (text.code, text.out) == (code, last + "\n")
    assert (as_json.code, json.loads(as_json.out)["state"]) == (code, state)
    assert text.err == as_json.err == (f"clarion: {last} ([red]\\x1b[31mno)\n" if code else "")


async def test_a_stream_that_is_cut_is_taken_up_again(
    behind: Person, proxy: TcpProxy, batch: str, conn: asyncpg.Connection
) -> None:
    command = await behind.on_terminal("batch", "watch", batch)
    await command.shows("0 of 250 delivered")
    await conn.execute("UPDATE batches SET delivered = 50, state = 'sending'")
    await command.shows("50 of 250 delivered")
    assert b"Last-Event-ID" not in proxy.asked

    proxy.cut()
    await conn.execute("UPDATE batches SET delivered = 100")
    await command.shows("100 of 250 delivered")
    await conn.execute(_ENDED, "sent", None)

    assert await command.end() == 0
    assert "225 of 250 delivered" in command.shown


async def test_the_last_event_is_named_when_the_stream_is_opened_again(
    behind: Person, proxy: TcpProxy, batch: str
) -> None:
    async with Client(behind.url, behind.token) as client:
        watched = watch_batch(client, int(batch), Pace(poll=0.01))
        await anext(watched)  # as it was asked for
        await anext(watched)  # as the stream shows it

        proxy.cut()
        async for _ in watched:
            if proxy.asked.count(b"/events ") == 2:
                break
        await watched.aclose()

    first, again = proxy.asked.split(b"/events ")[1:]
    assert b"Last-Event-ID: " not in first
    assert b"Last-Event-ID: " in again


async def test_where_no_stream_passes_the_batch_is_asked_for(
    behind: Person, proxy: TcpProxy, batch: str, conn: asyncpg.Connection
) -> None:
    proxy.refused = b"/events "
    command = await behind.on_terminal("batch", "watch", batch)

    for delivered in (50, 100, 150):
        await conn.execute("UPDATE batches SET delivered = $1, state = 'sending'", delivered)
        await command.shows(f"{delivered} of 250 delivered")
    await conn.execute(_ENDED, "sent", None)

    assert await command.end() == 0
    assert b"/events " in proxy.asked


async def test_a_stream_that_shows_nothing_is_tried_more_and_more_rarely(
    behind: Person, proxy: TcpProxy, batch: str
) -> None:
    """Each attempt doubles the time until the next one."""
    proxy.refused = b"/events "
    async with Client(behind.url, behind.token) as client:
        watched = watch_batch(client, int(batch), Pace(poll=0.01))
        for _ in range(40):
            await anext(watched)
        await watched.aclose()

    assert 1 <= proxy.asked.count(b"/events ") <= 20


async def test_a_batch_is_watched_across_a_restart_of_the_gateway(
    running: Installation, teacher: Person, batch: str, conn: asyncpg.Connection
) -> None:
    command = await teacher.on_terminal("batch", "watch", batch)
    await command.shows("0 of 250 delivered")

    await running.processes.pop().stop(signal.SIGKILL)
    await command.shows("trying again")
    await running.api()
    await conn.execute(_ENDED, "sent", None)

    assert await command.end() == 0
    assert f"batch {batch} sent" in command.shown


async def test_a_token_that_is_revoked_ends_it_with_the_way_back(
    behind: Person, proxy: TcpProxy, batch: str, conn: asyncpg.Connection
) -> None:
    command = await behind.on_terminal("batch", "watch", batch)
    await command.shows("0 of 250 delivered")

    await conn.execute("UPDATE access_tokens SET revoked_at = now()")
    proxy.cut()

    assert await command.end() == 1
    assert "401 Unauthorized: Revoked access token" in command.shown
    assert f"(to come back to the batch: clarion batch watch {batch})" in command.shown


async def test_a_cancelled_batch_is_watched_until_what_was_under_way_has_ended(
    teacher: Person, batch: str, conn: asyncpg.Connection
) -> None:
    await conn.execute("UPDATE batches SET state = 'cancelled', delivered = 50, skipped = 150")
    command = await teacher.on_terminal("batch", "watch", batch)

    await command.shows("50 of 250 delivered, 150 skipped")
    await conn.execute(_ENDED, "cancelled", None)

    assert await command.end() == 0
    assert "225 of 250 delivered, 25 skipped" in command.shown


async def test_a_stream_that_falls_silent_is_taken_for_cut(
    behind: Person, proxy: TcpProxy, batch: str, conn: asyncpg.Connection
) -> None:
    async with Client(behind.url, behind.token) as client:
        watched = watch_batch(client, int(batch), Pace(poll=0.01, first=60, silence=0.2))
        await anext(watched)
        await anext(watched)

        proxy.pause()
        await conn.execute("UPDATE batches SET delivered = 50")
        following = asyncio.ensure_future(anext(watched))
        await proxy.accepted()
        proxy.go_on()

        assert (await following).delivered == 50
        await watched.aclose()


async def test_ctrl_c_detaches_and_says_how_to_come_back(
    teacher: Person, batch: str, to_course: list[str], conn: asyncpg.Connection
) -> None:
    watching = await teacher.on_terminal("batch", "watch", batch)
    sending = await teacher.on_terminal(*to_course, "--follow")
    await watching.shows("0 of 250 delivered")
    await sending.shows("0 of 250 delivered")
    sent = await conn.fetchval("SELECT max(id) FROM batches")

    for command, id_ in ((watching, batch), (sending, sent)):
        command.interrupt()

        assert await command.end() == 130
        assert f"detached from batch {id_}, which goes on; to come back: clarion batch watch {id_}" in command.shown
        assert "Traceback" not in command.shown
    assert await conn.fetchval("SELECT count(*) FROM batches WHERE state = 'created'") == 2


async def test_ctrl_c_before_the_answer_says_how_to_repeat_it(
    behind: Person, proxy: TcpProxy, to_course: list[str]
) -> None:
    command = await behind.on_terminal(*to_course)
    proxy.pause()
    await command.shows("idempotency key: ")
    await proxy.accepted()

    command.interrupt()

    assert await command.end() == 130
    key = command.shown.partition("idempotency key: ")[2].split()[0]
    assert f"it may have been sent; to repeat it safely: --idempotency-key {key}" in command.shown
    assert "Traceback" not in command.shown
