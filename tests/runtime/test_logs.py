"""What a process logs (service/runtime/logs.py)."""

import logging
from collections.abc import Iterator

import pytest
import structlog

from service.runtime import logs
from service.runtime.settings import Settings


@pytest.fixture
def undone() -> Iterator[None]:
    """Logging is configured once per process, and this one is the tests'."""
    root, kept = logging.root, structlog.get_config()
    handlers, level = root.handlers[:], root.level
    root.handlers.clear()  # else they would be closed
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.configure(**kept)


@pytest.mark.usefixtures("undone")
@pytest.mark.parametrize(("asked", "libraries"), [("debug", "WARNING"), ("error", "ERROR")])
def test_libraries_never_say_more_than_warnings(settings: Settings, asked: str, libraries: str) -> None:
    """Their details would hold what messages and statements do."""
    logs.configure(settings.model_copy(update={"log_level": asked}))

    assert logging.getLevelName(logging.getLogger("asyncpg").getEffectiveLevel()) == libraries
