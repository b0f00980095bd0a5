"""From where the caller looks, and what a token lets the answer include."""

from typing import Any

from aiohttp import web

from service.api.authentication import caller
from service.api.keys import SETTINGS
from service.application.parameters.view import ViewParameters, viewpoint_of
from service.application.presentation.viewpoint import Viewpoint

# What a token limited to some routes may still ask to be included (canvas/conventions.md 2).
_ALWAYS_INCLUDED = frozenset({"uuid"})


def viewpoint(request: web.Request, sent: ViewParameters) -> Viewpoint:
    """The caller's viewpoint; Refusal for a filter_mode that does not exist."""
    return viewpoint_of(caller(request).user_id, sent, request.app[SETTINGS])


def includes(request: web.Request, sent: ViewParameters, parameters: dict[str, Any]) -> frozenset[str]:
    """What ``include[]`` asks for.

    A limited token gets only some of it, and nothing for a bare ``include``: hence the raw parameters.
    """
    asked = frozenset(sent.include)
    if caller(request).scopes is None:
        return asked
    return asked & _ALWAYS_INCLUDED if isinstance(parameters.get("include"), list) else frozenset()
