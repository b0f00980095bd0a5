"""The parameters by which a client says from where it looks; every answer with a conversation takes them."""

from typing import Any

from aiohttp import web
from pydantic import Field

from service.api.authentication import caller
from service.api.fields import CanvasBool, Parameters, ScalarString, StringList
from service.api.keys import SETTINGS
from service.application.viewpoint import Viewpoint
from service.domain.scopes import parse_filter_mode, parse_filters, parse_scope

# What a token limited to some routes may still ask to be included (canvas/conventions.md 2).
_ALWAYS_INCLUDED = frozenset({"uuid"})


class ViewParameters(Parameters):
    """Base of request models whose answers show conversations (canvas/endpoints.md 2, step 4)."""

    scope: ScalarString = None
    filter: StringList = Field(default_factory=list)
    filter_mode: ScalarString = None
    include: StringList = Field(default_factory=list)
    include_private_conversation_enrollments: CanvasBool = True
    no_avatar_fallback: CanvasBool = False


def viewpoint(request: web.Request, sent: ViewParameters) -> Viewpoint:
    """The caller's viewpoint; Refusal for a filter_mode that does not exist."""
    settings = request.app[SETTINGS]
    return Viewpoint(
        user_id=caller(request).user_id,
        base_url=settings.base_url,
        root_account_id=settings.root_account_id,
        scope=parse_scope(sent.scope),
        filters=parse_filters(sent.filter),
        filter_mode=parse_filter_mode(sent.filter_mode),
        private_enrollments=sent.include_private_conversation_enrollments,
        avatar_fallback=not sent.no_avatar_fallback,
    )


def includes(request: web.Request, sent: ViewParameters, parameters: dict[str, Any]) -> frozenset[str]:
    """What ``include[]`` asks for.

    A limited token gets only some of it, and nothing for a bare ``include``: hence the raw parameters.
    """
    asked = frozenset(sent.include)
    if caller(request).scopes is None:
        return asked
    return asked & _ALWAYS_INCLUDED if isinstance(parameters.get("include"), list) else frozenset()
