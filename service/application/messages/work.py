"""What sending a message needs beside the request: the process's ids and tag sets, and the cause."""

from dataclasses import dataclass

from service.application.messages.tag_sets import TagSets
from service.domain.event_metadata import Cause
from service.runtime.ids import IdBlocks
from service.runtime.settings import Settings


@dataclass(frozen=True, slots=True)
class Work:
    """One request's share of its process. ``ids`` and ``tag_sets`` live as long as the process and are shared.

    ``cause``: what the events of this request say about it (service/runtime/event_metadata.py); None where events are
    switched off.
    """

    settings: Settings
    ids: IdBlocks
    tag_sets: TagSets
    cause: Cause | None
