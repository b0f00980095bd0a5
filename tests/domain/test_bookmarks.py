"""Pages that begin behind a bookmark (canvas/conventions.md 4)."""

from base64 import urlsafe_b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.bookmarks import (
    Bookmark,
    MarkedPage,
    PersonMark,
    PlaceMark,
    RecipientMark,
    encode,
    parse_marked_page,
)
from service.domain.errors import Code, Refusal
from service.domain.ids import MAX_ID

names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
ids = st.integers(0, MAX_ID)
marks: st.SearchStrategy[Bookmark] = st.one_of(
    st.builds(PersonMark, names, ids),
    st.builds(PlaceMark, st.tuples(st.integers(0, 2), st.integers(0, 2), names, ids)),
    st.builds(RecipientMark, ids),
)
KINDS = (PersonMark, PlaceMark, RecipientMark)


@given(marks)
def test_a_bookmark_reads_back_as_itself(mark: Bookmark) -> None:
    assert parse_marked_page(encode(mark), "7", *KINDS) == MarkedPage(7, mark)


@given(marks)
def test_a_bookmark_needs_no_escaping_in_a_header_or_an_url(mark: Bookmark) -> None:
    text = encode(mark)

    assert text.startswith("bookmark:")
    assert all(c.isascii() and (c.isalnum() or c in "-_:") for c in text)


@given(st.text(min_size=1).filter(lambda text: text != "first"))
def test_what_no_link_has_led_to_is_refused(text: str) -> None:
    for page in (text, f"bookmark:{text}"):
        with pytest.raises(Refusal) as refused:
            parse_marked_page(page, None, *KINDS)
        assert refused.value.code is Code.INVALID_PAGE


@given(marks, st.data())
def test_a_bookmark_that_lost_something_is_refused_or_is_another_one(mark: Bookmark, data: st.DataObject) -> None:
    text = encode(mark)
    cut = data.draw(st.integers(1, len(text) - 1))

    with pytest.raises(Refusal):
        parse_marked_page(text[:cut], None, *KINDS)


@pytest.mark.parametrize(
    "content",
    [
        *("", "1", "null", "[]", '["a"]', '["a",-1]', '["a",1.0]', '["a",true]', '["a","1"]', '["\\u0000",1]', "[1,1]"),
        *('["\\ud800",1]', f'["a",{MAX_ID + 1}]', "[0,0,1,1]", '[0,"0","a",1]', '{"a":1}', "[" * 5000),
    ],
)
def test_other_content_is_refused(content: str) -> None:
    page = "bookmark:" + urlsafe_b64encode(content.encode()).rstrip(b"=").decode()

    with pytest.raises(Refusal):
        parse_marked_page(page, None, *KINDS)


@pytest.mark.parametrize(
    ("per_page", "size"), [(None, 10), ("", 10), ("0", 10), ("-3", 10), ("x", 10), ("1", 1), ("7x", 7), ("1000", 100)]
)
def test_page_sizes(per_page: str | None, size: int) -> None:
    assert parse_marked_page(None, per_page) == parse_marked_page("first", per_page) == MarkedPage(size)


def test_only_the_last_page_says_where_the_list_ends() -> None:
    here, there = PersonMark("a", 1), PersonMark("b", 2)

    assert list(MarkedPage(1).links(here).items()) == [
        ("current", "first"),
        ("next", encode(here)),
        ("first", "first"),
    ]
    assert MarkedPage(1, here).links(there) == {"current": encode(here), "next": encode(there), "first": "first"}
    assert MarkedPage(1, there).links(None) == {"current": encode(there), "first": "first", "last": encode(there)}


@pytest.mark.parametrize("added", ["=", "==", "!", "\n", " ", "%0A"])
def test_a_bookmark_with_what_does_not_belong_there_is_refused(added: str) -> None:
    """Decoders overlook some of it; the same page would have many names."""
    text = encode(PersonMark("Ann", 7))

    for page in (text + added, text[:12] + added + text[12:]):
        with pytest.raises(Refusal):
            parse_marked_page(page, None, *KINDS)


@pytest.mark.parametrize("kind", KINDS)
@given(mark=marks)
def test_a_bookmark_of_another_list_is_refused(kind: type[Bookmark], mark: Bookmark) -> None:
    if isinstance(mark, kind):
        assert parse_marked_page(encode(mark), None, kind).after == mark
        return
    with pytest.raises(Refusal):
        parse_marked_page(encode(mark), None, kind)
