"""Servers that variables name, and private ones."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from deploy.binaries import find_postgres, find_rabbitmq
from deploy.failure import CannotRun
from deploy.named import check_amqp, check_database
from deploy.ports import free_port
from deploy.postgres import PrivatePostgres
from deploy.rabbitmq import PrivateRabbitMQ
from deploy.servers import servers
from tests.support.private_servers import open_folder
from tests.support.waiting import until

_ADDRESSES = {
    "CLARION_DATABASE_URL": os.environ["CLARION_DATABASE_URL"],
    "CLARION_DATABASE_URL_FILE": "",
    "CLARION_AMQP_URL": os.environ["CLARION_AMQP_URL"],
    "CLARION_AMQP_URL_FILE": "",
}


async def test_an_unreachable_database_is_named_without_its_password() -> None:
    with pytest.raises(CannotRun, match=r"^CLARION_DATABASE_URL: cannot reach postgresql://127\.0") as error:
        await check_database(f"postgresql://someone:secret@127.0.0.1:{free_port()}/nowhere")

    assert "secret" not in str(error.value)


async def test_a_database_that_is_too_old_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.named.OLDEST_POSTGRES", 99)

    with pytest.raises(CannotRun, match=r"^CLARION_DATABASE_URL: PostgreSQL 99 or newer is needed, this is \d+$"):
        await check_database(os.environ["CLARION_DATABASE_URL"])


async def test_an_unreachable_broker_is_named_without_its_password() -> None:
    with pytest.raises(CannotRun, match=r"^CLARION_AMQP_URL: cannot reach amqp://127\.0") as error:
        await check_amqp(f"amqp://someone:secret@127.0.0.1:{free_port()}/")

    assert "secret" not in str(error.value)


async def test_of_a_brokers_nodes_one_that_answers_is_enough() -> None:
    there, away = os.environ["CLARION_AMQP_URL"], f"amqp://127.0.0.1:{free_port()}/"

    await check_amqp(f"{away},{there}")
    with pytest.raises(CannotRun, match=r"cannot reach .+; CLARION_AMQP_URL: cannot reach"):
        await check_amqp(f"{away},{away}")


@pytest.mark.parametrize("url", ["nonsense", "http://127.0.0.1/", "postgresql://[::1", "postgresql://h:port/d"])
async def test_what_is_no_url_is_an_error_of_the_same_kind(url: str) -> None:
    with pytest.raises(CannotRun, match=r"^CLARION_DATABASE_URL: "):
        await check_database(url)
    with pytest.raises(CannotRun, match=r"^CLARION_AMQP_URL: "):
        await check_amqp(url)


async def test_named_servers_are_used_as_they_are(tmp_path: Path) -> None:
    async with servers(tmp_path) as found:
        assert found.environment() == _ADDRESSES
        assert found.private == ()


async def test_servers_that_a_file_names_are_used_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And their processes are told by variable, not by both."""
    (file := tmp_path / "url").write_text(os.environ["CLARION_DATABASE_URL"] + "\n")
    monkeypatch.delenv("CLARION_DATABASE_URL")
    monkeypatch.setenv("CLARION_DATABASE_URL_FILE", str(file))
    async with servers(tmp_path) as found:
        assert found.environment() == _ADDRESSES

    monkeypatch.setenv("CLARION_DATABASE_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(CannotRun, match=r"^CLARION_DATABASE_URL_FILE: "):
        async with servers(tmp_path):
            pytest.fail("it started")


async def test_a_named_server_that_is_away_is_no_reason_for_a_private_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLARION_DATABASE_URL", f"postgresql://127.0.0.1:{free_port()}/x")

    with pytest.raises(CannotRun, match=r"^CLARION_DATABASE_URL: "):
        async with servers(tmp_path):
            pass

    assert not (tmp_path / "postgres").exists()


@pytest.fixture
async def postgres() -> AsyncIterator[PrivatePostgres]:
    """A running private server."""
    if find_postgres() is None:
        pytest.skip("the tests run on a named server, and this machine has no PostgreSQL of its own")
    with open_folder() as folder:
        server = PrivatePostgres(Path(folder), "secret")
        await server.ensure()
        yield server
        server.stop()


async def test_a_private_postgres_survives_a_kill_with_its_data(postgres: PrivatePostgres) -> None:
    conn = await asyncpg.connect(postgres.url)
    await conn.execute("CREATE TABLE kept AS SELECT 1 AS n")
    await conn.close()
    postgres.process.stop((signal.SIGKILL, 20))

    await postgres.ensure()

    conn = await asyncpg.connect(postgres.url)
    assert await conn.fetchval("SELECT n FROM kept") == 1
    assert await conn.fetchval("SHOW synchronous_commit") == await conn.fetchval("SHOW fsync") == "on"
    await conn.close()


async def test_a_private_postgres_that_runs_is_used_again(postgres: PrivatePostgres) -> None:
    before = postgres.process.facts()["pid"]

    await postgres.ensure()

    assert postgres.process.facts()["pid"] == before


async def test_a_private_postgres_refuses_connections_without_the_checkouts_password(postgres: PrivatePostgres) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(postgres.url.replace("secret", "guess"))


async def test_a_private_rabbitmq_that_only_begins_is_stopped_at_once() -> None:
    """Stopped in order at that moment, it does not end for a minute."""
    if find_rabbitmq() is None:
        pytest.skip("the tests run on a named server, and this machine has no RabbitMQ of its own")
    with open_folder() as folder:
        server = PrivateRabbitMQ(Path(folder), "secret")
        begins = asyncio.create_task(server.ensure())
        await until(server.process.alive)
        begins.cancel()
        await asyncio.wait([begins])

        await asyncio.to_thread(server.stop)
        assert server.process.child is not None
        assert server.process.child.returncode == -signal.SIGKILL

        await server.ensure()
        assert (Path(folder) / "rabbitmq" / "complete").exists()  # without it the next start begins with no data
        await asyncio.to_thread(server.stop)
        assert server.process.child.returncode == 0
