"""Pages and their Link header."""

import re
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.errors import Code, Refusal
from service.domain.pagination import HEADER_BUDGET, Page, link_header, parse_page

URL = "https://clarion.example/api/v1/conversations"
ENTRY = re.compile(r'<([^<>,]*)>; rel="(\w+)"')

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
queries = st.lists(st.tuples(texts, texts), max_size=5)


def links(header: str) -> dict[str, str]:
    """rel → URL, read the way clients do: split at the commas."""
    entries = [ENTRY.fullmatch(entry) for entry in header.split(",")] if header else []
    return {match[2]: match[1] for match in entries if match}


def pages(header: str) -> dict[str, int]:
    return {rel: int(dict(parse_qsl(urlsplit(url).query))["page"]) for rel, url in links(header).items()}


@pytest.mark.parametrize(
    ("per_page", "size"),
    [
        (None, 10),
        ("5", 5),
        ("100", 100),
        ("101", 100),
        ("0", 1),
        ("-3", 1),
        ("", 1),
        ("wat", 1),
        ("7x", 7),
        (" 8", 8),
        ("²", 1),
        ("9" * 5000, 100),
    ],
)
def test_page_size_is_clamped(per_page: str | None, size: int) -> None:
    assert parse_page(None, per_page) == Page(1, size)


@pytest.mark.parametrize(("page", "number"), [(None, 1), ("", 1), ("1", 1), ("007", 7), ("1000000", 1_000_000)])
def test_pages_count_from_one(page: str | None, number: int) -> None:
    assert parse_page(page, "10").number == number


@pytest.mark.parametrize("page", ["0", "-1", "wat", "1.5", "²", "bookmark:x", "9" * 19, "9" * 5000])
def test_a_page_that_cannot_be_is_not_found(page: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse_page(page, None)
    assert caught.value.code == Code.NOT_FOUND


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        (1, {"current": 1, "next": 2, "first": 1, "last": 3}),
        (2, {"current": 2, "next": 3, "prev": 1, "first": 1, "last": 3}),
        (3, {"current": 3, "prev": 2, "first": 1, "last": 3}),
        (9, {"current": 9, "prev": 8, "first": 1, "last": 3}),
    ],
)
def test_seven_items_in_pages_of_three(number: int, expected: dict[str, int]) -> None:
    """The table of conventions.md 4, and a page beyond the end."""
    header = link_header(URL, [], Page(number, 3), total=7)

    assert list(pages(header).items()) == list(expected.items())


def test_an_empty_list_has_one_page() -> None:
    assert pages(link_header(URL, [], Page(1, 10), total=0)) == {"current": 1, "first": 1, "last": 1}


def test_without_a_total_there_is_no_last() -> None:
    assert pages(link_header(URL, [], Page(2, 10), total=None, more=True)) == {
        "current": 2,
        "next": 3,
        "prev": 1,
        "first": 1,
    }
    assert "next" not in pages(link_header(URL, [], Page(2, 10), total=None, more=False))


def test_the_query_is_kept_but_for_pages_and_secrets() -> None:
    query = [("scope", "sent"), ("filter[]", "course_1,2"), ("access_token", "x"), ("api_key", "y"), ("page", "4")]

    header = link_header(URL, [*query, ("per_page", "7")], Page(4, 7), total=None)

    assert links(header)["current"] == f"{URL}?scope=sent&filter%5B%5D=course_1%2C2&page=4&per_page=7"


def test_over_the_budget_the_most_useful_entries_stay() -> None:
    def kept(length: int) -> list[str]:
        return list(links(link_header(URL, [("filter", "x" * length)], Page(2, 10), total=100)))

    assert kept(100) == ["current", "next", "prev", "first", "last"]
    assert kept(700) == ["current", "next", "prev", "last"]
    assert kept(1000) == ["next", "prev", "last"]
    assert kept(1500) == ["next", "last"]
    assert kept(3000) == ["next"]
    assert kept(3500) == ["next"]
    assert kept(50_000) == ["next"]
    assert links(link_header(URL, [("filter", "x" * 3500)], Page(10, 10), total=100)) == {}


@given(queries, st.integers(1, 50), st.integers(1, 100), st.integers(0, 5000))
def test_the_header_fits_and_splits_at_commas(query: list[tuple[str, str]], number: int, size: int, total: int) -> None:
    header = link_header(URL, query, Page(number, size), total=total)

    assert len(header) <= HEADER_BUDGET or list(links(header)) == ["next"]
    assert ("next" in links(header)) == (number * size < total)
    assert len(links(header)) == (header.count(",") + 1 if header else 0)
    for url in links(header).values():
        kept = parse_qsl(urlsplit(url).query, keep_blank_values=True)
        gone = {"page", "per_page", "access_token", "api_key"}
        assert kept[:-2] == [(name, value) for name, value in query if name not in gone]


@given(st.integers(0, 500), st.integers(1, 100))
def test_following_next_visits_every_item_once(total: int, size: int) -> None:
    seen: list[int] = []
    page: Page | None = Page(1, size)
    while page:
        seen.extend(range(total)[page.offset : page.offset + page.size])
        following = pages(link_header(URL, [], page, total=total)).get("next")
        page = Page(following, size) if following else None

    assert seen == list(range(total))
