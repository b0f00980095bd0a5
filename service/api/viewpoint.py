"""How the caller looks at conversations: from where, and what the answer includes."""

from aiohttp import web
from pydantic import Field

from service.api.authentication import caller
from service.api.keys import SETTINGS
from service.api.origin import base_url
from service.api.parameters import PARAMETERS
from service.application.parameters.types import CanvasBool, Parameters, Presence
from service.application.parameters.view import ViewParameters, viewpoint_of
from service.application.presentation.viewpoint import Viewpoint

# What a token limited to some routes may still ask to be included (canvas/conventions.md 2).
_ALWAYS_INCLUDED = frozenset({"uuid"})


class GetParameters(Parameters):
    """Base of the models of GET /conversations and /conversations/:id (canvas/endpoints.md 4.1 and 4.4)."""

    include_beta: Presence = Field(
        False, description="Say whether the conversation has a context. Any value counts as true."
    )
    interleave_submissions: CanvasBool = Field(
        False, description="Changes nothing: submissions are no part of conversations any more.", deprecated=True
    )


def viewpoint(request: web.Request, sent: ViewParameters) -> Viewpoint:
    """The caller's viewpoint; Refusal for a filter_mode that does not exist."""
    return viewpoint_of(caller(request).user_id, sent, request.app[SETTINGS], base_url(request))


def includes(request: web.Request, sent: ViewParameters) -> frozenset[str]:
    """What ``include[]`` asks for.

    A limited token gets only some of it, and nothing for a bare ``include``: hence the raw parameters, in which an
    array by index is an object.
    """
    asked = frozenset(sent.include)
    if caller(request).scopes is None:
        return asked
    return asked & _ALWAYS_INCLUDED if isinstance(request[PARAMETERS].get("include"), list | dict) else frozenset()
