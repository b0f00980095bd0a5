"""``clarion`` itself: what it has, and what it says where it cannot work (CONTRACT 2)."""

import pytest

from service.runtime.settings import Settings
from tests.support.commands import clarion
from tests.support.processes import free_port


async def test_every_command_is_listed_with_what_it_is_for(settings: Settings) -> None:
    done = await clarion(settings, "--help")

    assert (done.code, done.err) == (0, "")
    for command in ("migrate", "api", "worker", "directory", "dead", "token", "send", "batch"):
        assert any(line.split()[1:2] == [command] and len(line.split()) > 4 for line in done.out.splitlines()), command


async def test_what_is_no_command_is_wrong_usage(settings: Settings) -> None:
    done = await clarion(settings, "deliver")

    assert (done.code, done.out) == (2, "")
    assert "No such command 'deliver'" in done.err


@pytest.mark.parametrize("arguments", [["migrate"], ["token", "create", "--user", "7"], ["directory", "load", "-"]])
async def test_a_database_that_cannot_be_reached_is_named_by_its_variable(
    settings: Settings, arguments: list[str]
) -> None:
    away = settings.model_dump() | {"database_url": f"postgresql://operator:secret@127.0.0.1:{free_port()}/clarion"}

    done = await clarion(Settings(**away), *arguments)

    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("clarion: CLARION_DATABASE_URL: cannot connect: ")
    assert done.err.count("\n") == 1
    assert "secret" not in done.err
