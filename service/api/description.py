"""What a route says of itself: its handler's parameters and the OpenAPI document (openapi.py) are made of it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import wraps
from typing import Any, TypedDict, Unpack, overload

from aiohttp import web
from aiohttp.typedefs import Handler

from service.api.keys import SETTINGS
from service.api.pagination import PageParameters
from service.api.parameters import read_parameters
from service.application.parameters.types import Model, Parameters, parse
from service.domain.errors import Code


class Tag(StrEnum):
    """Chapters of the document."""

    CONVERSATIONS = "Conversations"
    BATCHES = "Batches"
    SEARCH = "Search"
    PROGRESS = "Progress"
    USERS = "Users"
    ADMINISTRATION = "Site administration"
    SERVICE = "Service"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One successful answer. body: a type of service/application/presentation/shapes.py, or None without a body.

    ``texts``: an example of each media type in which the answer is text, for who asks for it with Accept.
    """

    text: str
    body: Any = None
    media_type: str = "application/json"
    headers: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Description:
    """All that is said of a handler. ``required``: parameters without which nothing can come of it.

    ``published``: whether the OpenAPI document has it; the files that a page loads are of no use to a client.
    """

    summary: str
    outcomes: Mapping[int, Outcome]
    parameters: type[Parameters] | None = None
    required: tuple[str, ...] = ()
    text: str = ""
    tag: Tag = Tag.CONVERSATIONS
    refusals: tuple[Code, ...] = ()
    deprecated: bool = False
    published: bool = True

    @property
    def paginated(self) -> bool:
        """Whether the answer is a page of a list."""
        return self.parameters is not None and issubclass(self.parameters, PageParameters)


class _More(TypedDict, total=False):
    text: str
    tag: Tag
    refusals: tuple[Code, ...]
    deprecated: bool
    published: bool


_DESCRIPTIONS: dict[Handler, Description] = {}
_Reading = Callable[[web.Request, Model], Awaitable[web.StreamResponse]]


@overload
def describe(summary: str, outcomes: Mapping[int, Outcome], **more: Unpack[_More]) -> Callable[[Handler], Handler]: ...


@overload
def describe(
    summary: str,
    outcomes: Mapping[int, Outcome],
    *,
    parameters: type[Model],
    required: tuple[str, ...] = (),
    **more: Unpack[_More],
) -> Callable[[_Reading[Model]], Handler]: ...


def describe(
    summary: str,
    outcomes: Mapping[int, Outcome],
    *,
    parameters: type[Parameters] | None = None,
    required: tuple[str, ...] = (),
    **more: Unpack[_More],
) -> Callable[[Callable[..., Awaitable[web.StreamResponse]]], Handler]:
    """Decorates a handler; one whose ``parameters`` are described gets them, read, as its second argument.

    Refusals that any route under /api/ may answer with need not be named.
    """
    described = Description(summary, outcomes, parameters, required, **more)

    def note(handler: Callable[..., Awaitable[web.StreamResponse]]) -> Handler:
        answer = handler if parameters is None else _reading(parameters, handler)
        _DESCRIPTIONS[answer] = described
        return answer

    return note


def _reading(model: type[Model], handler: _Reading[Model]) -> Handler:
    @wraps(handler)
    async def answer(request: web.Request) -> web.StreamResponse:
        return await handler(
            request, parse(model, await read_parameters(request), shard_id=request.app[SETTINGS].shard_id)
        )

    return answer


def description_of(handler: Handler) -> Description | None:
    """What was said of the handler."""
    return _DESCRIPTIONS.get(handler)
