"""Who or what caused a change: metadata of its events (canvas/events.md 1.1)."""

from collections.abc import Mapping
from dataclasses import dataclass

from service.domain.ids import SHARD_SIZE

TEXT_LIMIT = 8192  # characters of a long text in an event (canvas/events.md 1)


@dataclass(frozen=True, slots=True)
class Cause:
    """``metadata``: what the events of one request or job have in common, without what differs from event to event.

    ``traceparent``: the W3C trace context in which it happened.
    """

    metadata: Mapping[str, str]
    traceparent: str | None = None


def global_id(local_id: int, shard_id: int) -> str:
    """``10000000000042``: ids of the metadata are global (canvas/events.md 1.2)."""
    return str(shard_id * SHARD_SIZE + local_id)


def metadata(values: Mapping[str, str | None]) -> dict[str, str]:
    """Those that have a value, cut to TEXT_LIMIT, as text that any JSON can hold.

    Headers come from any client: what is not UTF-8 in them, and NUL, becomes a question mark.
    """
    return {
        key: value[:TEXT_LIMIT].replace("\0", "?").encode("utf-8", "replace").decode("utf-8")
        for key, value in values.items()
        if value
    }
