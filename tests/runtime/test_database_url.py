"""The DSN as the driver reads it; another scheme stops the start instead of a process that never works."""

import asyncio

import pytest

from service.runtime import postgres, settings
from service.runtime.settings import DatabaseSettings, SettingsError


def load(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """What becomes of a CLARION_DATABASE_URL."""
    monkeypatch.setenv("CLARION_DATABASE_URL", url)
    monkeypatch.setenv("CLARION_AMQP_URL", "amqp://127.0.0.1/")
    return str(settings.load().database_url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_what_the_driver_reads_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    url = f"{scheme}://someone:secret@127.0.0.1:5432/clarion"
    assert load(monkeypatch, url) == url


@pytest.mark.parametrize("option", ["sslmode=always", "target_session_attrs=rw"])
def test_an_option_with_a_word_of_its_own_is_checked(monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    known = "postgresql://127.0.0.1/clarion?sslmode=require&target_session_attrs=read-write"
    assert load(monkeypatch, known) == known

    with pytest.raises(
        SettingsError, match=rf"^CLARION_DATABASE_URL: .*{option.partition('=')[0]} is one of [a-z, -]+$"
    ):
        load(monkeypatch, f"postgresql://127.0.0.1/clarion?application_name=x&{option}")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(None, "no answer in time"), (b"", "the connection was closed at once: what answers there may be no PostgreSQL")],
)
async def test_what_does_not_speak_as_a_database_does_is_named(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None, reason: str
) -> None:
    monkeypatch.setattr(postgres, "CONNECT_TIMEOUT", 0.2)
    left = asyncio.Event()

    async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is None:
            await left.wait()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        silent = DatabaseSettings.model_validate({"database_url": f"postgresql://127.0.0.1:{port}/clarion"})

        with pytest.raises(SettingsError, match=rf"^CLARION_DATABASE_URL: cannot connect: {reason}$"):
            async with postgres.connected(silent):
                pass
        left.set()


@pytest.mark.parametrize("url", ["postgresql+psycopg://127.0.0.1/clarion", "mysql://127.0.0.1/clarion", "clarion"])
def test_any_other_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(SettingsError, match="CLARION_DATABASE_URL"):
        load(monkeypatch, url)
