"""Parameters in each encoding: nested as Rack nests them, bounded, and refused in no other way than one."""

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.brackets import MAX_DEPTH, MAX_NAMES, MAX_VALUES, Repeated
from service.domain.encodings import read_form, read_json, read_multipart
from service.domain.errors import Code, Refusal

BOUNDARY = "form-boundary"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters='\0[]"\\\r\n%'), min_size=1)


def part(name: str, value: str, extra: str = "") -> str:
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{extra}\r\n\r\n{value}\r\n'


def multipart(*parts: str) -> bytes:
    return ("".join(parts) + f"--{BOUNDARY}--\r\n").encode()


def refusal(read: Callable[..., Any], *arguments: Any) -> Refusal:
    with pytest.raises(Refusal) as caught:
        read(*arguments)
    return caught.value


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("", {}),
        ("a=1", {"a": "1"}),
        ("a=", {"a": ""}),
        ("a", {"a": None}),
        ("a=1+2%2B3", {"a": "1 2+3"}),
        ("a=b=c", {"a": "b=c"}),
        ("&&a=1&", {"a": "1"}),
        ("=1", {}),
        ("recipients[]=1&recipients[]=course_3", {"recipients": ["1", "course_3"]}),
        ("recipients%5B%5D=1&recipients[]=2", {"recipients": ["1", "2"]}),
        ("remove=1&remove=2", {"remove": ["1", "2"]}),
        ("conversation[starred]=true&conversation[a][b][]=1", {"conversation": {"starred": "true", "a": {"b": ["1"]}}}),
        ("a[0]=x", {"a": {"0": "x"}}),
        ("a[b=1", {"a[b": "1"}),
        ("[a]=1", {"[a]": "1"}),
        ("a]=1", {"a]": "1"}),
        ("na%C3%AFve=%E2%82%AC", {"naïve": "€"}),
    ],
)
def test_a_form_nests_by_its_brackets(form: str, expected: dict[str, Any]) -> None:
    assert read_form(form.encode()) == expected


def test_bare_repeats_are_distinguished_from_an_array() -> None:
    read = read_form(b"remove=1&remove=2&keep[]=3&once=4")

    assert type(read["remove"]) is Repeated
    assert type(read["keep"]) is list
    assert read["once"] == "4"


@pytest.mark.parametrize(
    "form",
    [
        "a=1&a[b]=2",
        "a[b]=2&a=1",
        "a[]=1&a[b]=2",
        "a[b]=2&a[]=1",
        "a=1&a[]=2",
        "a[]=2&a=1",
        "a=1&a=2&a[]=3",
        "a[b]=1&a[b][c]=2",
        "a[][b]=1",
    ],
)
def test_contradictory_names_are_refused(form: str) -> None:
    assert refusal(read_form, form.encode()).code == Code.BAD_REQUEST


@pytest.mark.parametrize(
    "raw",
    [b"a=%00", b"a=\0", b"a%00=1", b"a=%zz", b"a=%", b"a=%e2%82", b"a=\xff", b"%ff=1", b"a=%C0%80"],
)
def test_what_is_no_text_is_refused(raw: bytes) -> None:
    assert refusal(read_form, raw).code == Code.BAD_REQUEST


def test_a_thousand_brackets_are_refused() -> None:
    assert refusal(read_form, b"a" + b"[b]" * 1000 + b"=1").code == Code.BAD_REQUEST
    assert refusal(read_form, b"[" * 1000 + b"=1").code == Code.BAD_REQUEST
    assert refusal(read_json, json.dumps({"a" + "[b]" * 1000: 1}).encode()).code == Code.BAD_REQUEST
    assert refusal(read_json, b'{"a":' * 1000 + b"1" + b"}" * 1000).code == Code.BAD_REQUEST
    assert refusal(read_json, b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}").code == Code.BAD_REQUEST


def test_nesting_up_to_the_bound_is_read() -> None:
    deepest = MAX_DEPTH - 1

    assert read_form(b"a" + b"[b]" * deepest + b"=1")["a"]["b"]["b"]
    assert read_json(b'{"a":' + b"[" * deepest + b"]" * deepest + b"}")["a"][0]


def test_a_million_parameters_are_refused() -> None:
    assert refusal(read_form, b"a=1&" * 1_000_000).code == Code.BAD_REQUEST
    assert refusal(read_form, b"&".join(b"a%d=1" % i for i in range(MAX_NAMES + 1))).code == Code.BAD_REQUEST
    assert refusal(read_json, json.dumps({"a": [1] * 1_000_000}).encode()).code == Code.BAD_REQUEST
    assert refusal(read_multipart, (b"\r\n--" + BOUNDARY.encode()) * (MAX_VALUES + 1), CONTENT_TYPE)


def test_a_hundred_thousand_recipients_are_read_in_every_encoding() -> None:
    people = [str(number) for number in range(100_000)]

    assert read_form("&".join(f"recipients[]={one}" for one in people).encode()) == {"recipients": people}
    assert read_form("&".join(f"recipients={one}" for one in people).encode()) == {"recipients": people}
    assert read_json(json.dumps({"recipients": people}).encode()) == {"recipients": people}
    assert read_multipart(multipart(*(part("recipients[]", one) for one in people)), CONTENT_TYPE) == {
        "recipients": people
    }


@pytest.mark.parametrize(
    "raw",
    [b"{", b"", b"[1]", b'"a"', b"null", b"1", b'{"a":NaN}', b'{"a":1e999}', b'{"a":"\\ud800"}', b'{"a":"\xff"}'],
)
def test_broken_json_and_json_that_is_no_object_are_refused(raw: bytes) -> None:
    assert refusal(read_json, raw).code == Code.BAD_REQUEST


@pytest.mark.parametrize("raw", [b'{"a":"\\u0000"}', b'{"a":[{"b":["x\\u0000"]}]}', b'{"\\u0000":1}'])
def test_nul_in_json_is_refused(raw: bytes) -> None:
    assert refusal(read_json, raw).code == Code.BAD_REQUEST


def test_an_escaped_backslash_before_u0000_is_no_nul() -> None:
    assert read_json(rb'{"a":"\\u0000"}') == {"a": r"\u0000"}


def test_keys_of_json_may_have_brackets() -> None:
    read = read_json(b'{"conversation[starred]": true, "recipients[]": ["1", 2], "body": "x", "ids[]": 3}')

    assert read == {"conversation": {"starred": True}, "recipients": ["1", 2], "body": "x", "ids": [3]}


def test_bracket_keys_of_json_add_to_nested_ones() -> None:
    assert read_json(b'{"a[c]": 2, "a": {"b": 1}}') == {"a": {"b": 1, "c": 2}}
    assert refusal(read_json, b'{"a[b]": 2, "a": {"b": 1}}').code == Code.BAD_REQUEST
    assert refusal(read_json, b'{"a[b]": 2, "a": 1}').code == Code.BAD_REQUEST


def test_json_keeps_types() -> None:
    assert read_json(b'{"a": 1, "b": null, "c": 1.5, "d": false, "e": {"f": []}}') == {
        "a": 1,
        "b": None,
        "c": 1.5,
        "d": False,
        "e": {"f": []},
    }


def test_multipart_fields_are_read_and_files_left_out() -> None:
    read = read_multipart(
        multipart(
            part("recipients[]", "1"),
            part("recipients%5B%5D", "2"),
            part("conversation[starred]", "true"),
            part("body", "two\r\nlines"),
            part("file", "…", '; filename="name=a.txt"'),
            part('say \\"hi\\"', "x"),
        ),
        CONTENT_TYPE,
    )

    assert read == {
        "recipients": ["1", "2"],
        "conversation": {"starred": "true"},
        "body": "two\r\nlines",
        'say "hi"': "x",
    }


@pytest.mark.parametrize(
    ("raw", "content_type"),
    [
        (multipart(part("a", "1")), "multipart/form-data"),
        (multipart(part("a", "1")), "multipart/form-data; boundary=other"),
        (part("a", "1").encode(), CONTENT_TYPE),
        (f"--{BOUNDARY}\r\nno head\r\n--{BOUNDARY}--".encode(), CONTENT_TYPE),
        (multipart(part("a", "\0")), CONTENT_TYPE),
        (multipart(part("a%00", "1")), CONTENT_TYPE),
        (multipart(part("a", "1")).replace(b"1", b"\xff"), CONTENT_TYPE),
    ],
)
def test_broken_multipart_is_refused(raw: bytes, content_type: str) -> None:
    assert refusal(read_multipart, raw, content_type).code == Code.BAD_REQUEST


@given(st.dictionaries(names, texts, max_size=8))
def test_plain_fields_come_back_from_every_encoding(fields: dict[str, str]) -> None:
    boundary_free = {k: v for k, v in fields.items() if BOUNDARY not in k + v}

    assert read_form(urlencode(fields).encode()) == fields
    assert read_form(urlencode(fields, quote_via=quote).encode()) == fields
    assert read_json(json.dumps(fields).encode()) == fields
    parts = (part(name, value) for name, value in boundary_free.items())
    assert read_multipart(multipart(*parts), CONTENT_TYPE) == boundary_free


@given(st.lists(texts, min_size=1, max_size=8))
def test_arrays_keep_their_order_in_every_encoding(items: list[str]) -> None:
    assert read_form(urlencode([("a[]", item) for item in items]).encode()) == {"a": items}
    assert read_json(json.dumps({"a[]": items}).encode()) == {"a": items}


bracketed = st.lists(st.sampled_from(["a", "b", "[", "]", "[]", "[a]", "[b]", "=", "&", "%", "%00", "%5B", "é", "+"]))
junk = st.one_of(st.binary(), bracketed.map(lambda pieces: "".join(pieces).encode()))


@given(junk)
def test_junk_is_read_or_refused_and_nothing_else(raw: bytes) -> None:
    readers: list[Callable[[], dict[str, Any]]] = [
        lambda: read_form(raw),
        lambda: read_json(raw),
        lambda: read_json(b'{"' + raw + b'": 1}'),
        lambda: read_multipart(raw, CONTENT_TYPE),
        lambda: read_multipart(multipart(part("a", "b")).replace(b"a", raw), CONTENT_TYPE),
        lambda: read_multipart(raw, raw.decode("latin-1")),
    ]
    for read in readers:
        with suppress(Refusal):
            assert isinstance(read(), dict)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text("ab[]", max_size=6), json_values, max_size=6))
def test_any_json_object_is_read_or_refused(body: dict[str, Any]) -> None:
    with suppress(Refusal):
        assert isinstance(read_json(json.dumps(body).encode()), dict)


def test_a_json_object_has_as_many_names_with_brackets_as_a_form() -> None:
    def body(names: int) -> bytes:
        return b"{" + b",".join(b'"a[%d]":1' % n for n in range(names)) + b"}"

    assert len(read_json(body(MAX_NAMES))["a"]) == MAX_NAMES
    assert refusal(read_json, body(MAX_NAMES + 1)).code == Code.BAD_REQUEST
