"""The parameters that say which list the client looks at; every request answered with conversations takes them."""

from pydantic import Field

from service.application.parameters.types import CanvasBool, CodeList, Parameters, ScalarString, StringList, one_of
from service.application.presentation.viewpoint import Viewpoint
from service.domain.scopes import FilterMode, Scope, parse_filter_mode, parse_filters, parse_scope
from service.runtime.settings import Settings


class ViewParameters(Parameters):
    """Base of request models whose answers show conversations (canvas/endpoints.md 2 step 4)."""

    scope: ScalarString = Field(None, description="Which of the caller's lists.", json_schema_extra=one_of(Scope))
    filter: CodeList = Field([], description="Only what has to do with `course_N`, `group_N`, `user_N` or `uuid:X`.")
    filter_mode: ScalarString = Field(
        None, description="Whether any filter is enough, or all are needed.", json_schema_extra=one_of(FilterMode)
    )
    include: StringList = Field(
        [], description="What to say besides of participants: `uuid`; in the list also `participant_avatars`."
    )
    include_private_conversation_enrollments: CanvasBool = Field(
        True, description="Say in audience_contexts by which roles the one other participant is there."
    )
    no_avatar_fallback: CanvasBool = Field(False, description="No stand-in for pictures that are missing.")


def viewpoint_of(user_id: int, sent: ViewParameters, settings: Settings, base_url: str) -> Viewpoint:
    """The user's viewpoint; Refusal for a filter_mode that does not exist."""
    return Viewpoint(
        user_id=user_id,
        base_url=base_url,
        root_account_id=settings.root_account_id,
        scope=parse_scope(sent.scope),
        filters=parse_filters(sent.filter),
        filter_mode=parse_filter_mode(sent.filter_mode),
        private_enrollments=sent.include_private_conversation_enrollments,
        avatar_fallback=not sent.no_avatar_fallback,
    )
