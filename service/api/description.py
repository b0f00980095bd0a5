"""What a route says of itself; the OpenAPI document is made of these (service/api/openapi.py)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar

from aiohttp.typedefs import Handler

from service.application.parameters.types import Parameters
from service.domain.errors import Code


class Tag(StrEnum):
    """Chapters of the document."""

    CONVERSATIONS = "Conversations"
    BATCHES = "Batches"
    SEARCH = "Search"
    PROGRESS = "Progress"
    ADMINISTRATION = "Site administration"
    SERVICE = "Service"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One successful answer. body: a type of service/application/presentation/shapes.py, or None without a body."""

    text: str
    body: Any = None
    media_type: str = "application/json"
    headers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Description:
    """All that is said of a handler. ``required``: parameters without which nothing can come of it."""

    summary: str
    text: str
    tag: Tag
    outcomes: Mapping[int, Outcome]
    parameters: type[Parameters] | None
    required: tuple[str, ...]
    refusals: tuple[Code, ...]
    paginated: bool
    deprecated: bool


_DESCRIPTIONS: dict[Handler, Description] = {}
Described = TypeVar("Described", bound=Handler)


def describe(
    summary: str,
    outcomes: Mapping[int, Outcome],
    *,
    text: str = "",
    tag: Tag = Tag.CONVERSATIONS,
    parameters: type[Parameters] | None = None,
    required: tuple[str, ...] = (),
    refusals: tuple[Code, ...] = (),
    paginated: bool = False,
    deprecated: bool = False,
) -> Callable[[Described], Described]:
    """Decorates a handler. Refusals that any route under /api/ may answer with need not be named."""

    def note(handler: Described) -> Described:
        _DESCRIPTIONS[handler] = Description(
            summary, text, tag, outcomes, parameters, required, refusals, paginated, deprecated
        )
        return handler

    return note


def description_of(handler: Handler) -> Description | None:
    """What was said of the handler."""
    return _DESCRIPTIONS.get(handler)
