"""The DSN as the driver reads it; another scheme stops the start instead of a process that never works."""

import pytest

from service.runtime import settings
from service.runtime.settings import SettingsError


def load(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    """What becomes of a CLARION_DATABASE_URL."""
    monkeypatch.setenv("CLARION_DATABASE_URL", url)
    monkeypatch.setenv("CLARION_AMQP_URL", "amqp://127.0.0.1/")
    return str(settings.load().database_url)


@pytest.mark.parametrize("scheme", ["postgres", "postgresql"])
def test_what_the_driver_reads_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    url = f"{scheme}://someone:secret@127.0.0.1:5432/clarion"
    assert load(monkeypatch, url) == url


@pytest.mark.parametrize("url", ["postgresql+psycopg://127.0.0.1/clarion", "mysql://127.0.0.1/clarion", "clarion"])
def test_any_other_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    with pytest.raises(SettingsError, match="CLARION_DATABASE_URL"):
        load(monkeypatch, url)
