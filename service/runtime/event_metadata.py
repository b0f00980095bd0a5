"""The cause of what this task does, from the edge where it is known to the statements that record it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace

from service.domain.event_metadata import Cause, global_id, metadata
from service.runtime.settings import Settings
from service.runtime.tracing import current_traceparent

_CAUSE: ContextVar[Cause | None] = ContextVar("cause", default=None)


def current() -> Cause | None:
    """The cause of the present work, in the trace of this moment; None: no events (CLARION_EVENTS)."""
    cause = _CAUSE.get()
    return None if cause is None else replace(cause, traceparent=current_traceparent())


@contextmanager
def caused_by(cause: Cause | None) -> Iterator[None]:
    """Whatever is changed within the block has this cause."""
    token = _CAUSE.set(cause)
    try:
        yield
    finally:
        _CAUSE.reset(token)


def root_account(settings: Settings) -> dict[str, str]:
    """The metadata of the account that everything here belongs to."""
    return {"root_account_id": global_id(settings.root_account_id, settings.shard_id)}


def job(settings: Settings, *, message_id: str, name: str) -> Cause | None:
    """The cause of what a worker does on a message; None when events are off (canvas/events.md 1.1)."""
    if not settings.events:
        return None
    return Cause(metadata({**root_account(settings), "job_id": message_id, "job_tag": name}))
