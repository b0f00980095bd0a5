"""Pages of a list over HTTP (canvas/conventions.md 4)."""

from urllib.parse import parse_qsl

from aiohttp import web
from pydantic import Field

from service.api.origin import base_url
from service.api.parameters import query_of
from service.application.parameters.types import Parameters, ScalarString
from service.domain.bookmarks import Bookmark, MarkedPage
from service.domain.pagination import MAX_SIZE, Page, link_entries, link_header, parse_page


class PageParameters(Parameters):
    """Base of the models of every list that is cut into pages."""

    page: ScalarString = Field(None, description="Which page; take it from the Link header.")
    per_page: ScalarString = Field(
        None,
        description="Items on a page.",
        json_schema_extra={"type": "integer", "minimum": 1, "maximum": MAX_SIZE},
    )


def page_of(sent: PageParameters) -> Page:
    """The page a request asks for; Refusal(NOT_FOUND) when there can be none."""
    return parse_page(sent.page, sent.per_page)


def link_headers(request: web.Request, page: Page, *, total: int | None, more: bool | None = None) -> dict[str, str]:
    """The Link header of an answer, as headers to respond with: absolute URLs on the public origin."""
    link = link_header(*_asked(request), page, total=total, more=more)
    return {"Link": link} if link else {}


def marked_link_headers(request: web.Request, page: MarkedPage, following: Bookmark | None) -> dict[str, str]:
    """The same for a list whose pages begin behind a bookmark; ``following``: where the next one does, if there is."""
    link = link_entries(*_asked(request), page.links(following), page.size)
    return {"Link": link} if link else {}


def _asked(request: web.Request) -> tuple[str, list[tuple[str, str]]]:
    """The address of the request's list on the public origin, and the pairs of its query."""
    query = parse_qsl(query_of(request).decode(), keep_blank_values=True)
    return base_url(request) + request.path.removesuffix(".json"), query
