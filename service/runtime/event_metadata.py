"""The cause of a change, as the events about it give it: whether there is one is decided here only."""

from collections.abc import Mapping

from service.domain.event_metadata import Cause, global_id, metadata
from service.runtime.settings import Settings
from service.runtime.tracing import current_traceparent


def root_account(settings: Settings) -> str:
    """The global id of the account that everything here belongs to."""
    return global_id(settings.root_account_id, settings.shard_id)


def cause(settings: Settings, values: Mapping[str, str | None]) -> Cause | None:
    """A cause with these values (canvas/events.md 1.1), in the trace of this moment.

    None when events are off (CLARION_EVENTS): then no event is recorded.
    """
    if not settings.events:
        return None
    return Cause(metadata({"root_account_id": root_account(settings), **values}), current_traceparent())


def job(settings: Settings, *, message_id: str, name: str) -> Cause | None:
    """The cause of what a worker does on a message."""
    return cause(settings, {"job_id": message_id, "job_tag": name})
