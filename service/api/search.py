"""Finding recipients over HTTP: GET /search/recipients, and the older /conversations/find_recipients."""

from aiohttp import web
from pydantic import Field
from pydantic.config import JsonDict

from service.api.authentication import caller
from service.api.description import Outcome, Tag, describe
from service.api.origin import base_url
from service.api.pagination import marked_link_headers
from service.api.reading import reading
from service.api.responses import respond
from service.application.address_book.masquerade import in_reach
from service.application.parameters.types import (
    CanvasBool,
    CodeList,
    IdList,
    Parameters,
    ScalarCode,
    ScalarString,
    StringList,
    one_of,
)
from service.application.presentation.shapes import Participant, RecipientContext
from service.application.search.recipients import Search, find_user, search
from service.domain.avatars import Avatars
from service.domain.bookmarks import PersonMark, PlaceMark, parse_marked_page
from service.domain.errors import Code
from service.domain.ids import parse_id
from service.domain.search import MAX_SEARCH, MAX_TERMS, Kind, parse_kinds, parse_place, parse_terms

_KINDS: JsonDict = {"items": {"type": "string", **one_of([*Kind, "context"])}}
_FOUND = {200: Outcome("Contexts first, then people.", list[RecipientContext | Participant], headers=("Link",))}


class SearchParameters(Parameters):
    """canvas/endpoints.md 4.13"""

    search: ScalarString = Field(
        None,
        description=f"Words, all of which a name has to hold; {MAX_TERMS} at most.",
        json_schema_extra={"maxLength": MAX_SEARCH},
    )
    context: ScalarCode = Field(
        None, description="Only within `course_N`, `section_N` or `group_N`; with `_students` and the like those alone."
    )
    exclude: CodeList = Field([], description="Ids of users and codes of contexts to leave out.")
    type: StringList = Field([], description="What to find.", json_schema_extra=_KINDS)
    types: StringList = Field([], description="The same.", json_schema_extra=_KINDS)
    user_id: ScalarCode = Field(None, description="This one user, and nothing else that is asked for.")
    from_conversation_id: IdList = Field([], description="With user_id: a conversation of both is reason enough.")
    permissions: StringList = Field([], description="Which of the caller's permissions to tell of each context.")
    messageable_only: CanvasBool = Field(False, description="Only contexts to which the caller may send.")
    synthetic_contexts: CanvasBool = Field(False, description="With context: its roles, sections and groups as well.")
    include_inactive: CanvasBool = Field(False, description="Contexts that are over as well.")
    page: ScalarString = Field(None, description="Which page; take it from the Link header.")
    per_page: ScalarString = Field(
        None, description="Items on a page, up to 100.", json_schema_extra={"type": "integer"}
    )

    def asked(self) -> Search:
        """What is looked for. A search that is sent empty is one for everything; Refusal for one that is too long."""
        place = parse_place(self.context)
        return Search(
            terms=parse_terms(self.search),
            place=place,
            kinds=parse_kinds([*self.type, *self.types]),
            excluded_users=[id_ for item in self.exclude if (id_ := parse_id(item)) is not None],
            excluded_codes=frozenset(self.exclude),
            permissions=frozenset(self.permissions),
            messageable_only=self.messageable_only,
            synthetic=self.synthetic_contexts,
            include_inactive=self.include_inactive,
        )


@describe(
    "Find recipients",
    _FOUND,
    text="Users and contexts to which the caller can write. Nothing is found when nothing is asked for.",
    tag=Tag.SEARCH,
    parameters=SearchParameters,
    refusals=(Code.INVALID_ATTRIBUTE, Code.NOT_FOUND, Code.INVALID_PAGE),
)
async def find_recipients(request: web.Request, sent: SearchParameters) -> web.Response:
    """Contexts and people to write to."""
    return await _answer(request, sent)


@describe(
    "Find recipients, the older route",
    _FOUND,
    tag=Tag.CONVERSATIONS,
    parameters=SearchParameters,
    refusals=(Code.INVALID_ATTRIBUTE, Code.NOT_FOUND, Code.INVALID_PAGE),
    deprecated=True,
)
async def find_recipients_of_old(request: web.Request, sent: SearchParameters) -> web.Response:
    """As above."""
    return await _answer(request, sent)


async def _answer(request: web.Request, sent: SearchParameters) -> web.Response:
    """A search by user_id overlooks all else; without anything to look for: []."""
    avatars = Avatars(base_url(request))
    viewer_id = caller(request).user_id
    if sent.user_id:
        shared = sent.from_conversation_id[0] if sent.from_conversation_id else None
        async with reading(request) as conn:
            if shared is not None and not await in_reach(conn, caller(request).actor, shared):
                shared = None
            people = await find_user(conn, viewer_id, sent.user_id, conversation_id=shared, avatars=avatars)
        return respond(request, people)
    asked = sent.asked()
    if asked.place is None and asked.terms is None:
        return respond(request, [])
    page = parse_marked_page(sent.page, sent.per_page, PlaceMark, PersonMark)
    async with reading(request) as conn:
        found = await search(conn, viewer_id, asked, page, avatars)
    return respond(request, found.items, headers=marked_link_headers(request, page, found.following))


routes = [
    web.get("/api/v1/search/recipients", find_recipients),
    web.get("/api/v1/conversations/find_recipients", find_recipients_of_old),
]
