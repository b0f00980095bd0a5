"""Which key a header names, and which requests are the same."""

import json
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.encodings import read_form, read_json
from service.domain.errors import Code, Refusal
from service.domain.idempotency_keys import MAX_LENGTH, fingerprint, read_key

CHARACTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
KEYS = st.text(CHARACTERS, min_size=1, max_size=MAX_LENGTH)


def quoted(key: str) -> str:
    """As the draft of the header's standard writes it."""
    return '"' + key.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(KEYS)
def test_a_key_in_quotes_is_the_same_key(key: str) -> None:
    assert read_key(quoted(key)) == key
    if not key.startswith('"'):
        assert read_key(key) == key


@given(st.text(st.sampled_from('"\\a ,;\udcff'), max_size=12))
def test_any_header_is_a_key_or_is_refused_by_name(header: str) -> None:
    with suppress(Refusal):
        key = read_key(header)
        assert key == header or quoted(key) == header
        assert key.encode()
        return
    with pytest.raises(Refusal) as caught:
        read_key(header)
    assert (caught.value.code, caught.value.attribute) == (Code.INVALID_ATTRIBUTE, "idempotency_key")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("", "blank"),
        ('""', "blank"),
        ("k" * 256, "too_long"),
        (quoted("k" * 256), "too_long"),
        ('"', "invalid"),
        ('"open', "invalid"),
        ('"a"b"', "invalid"),
        ('"one", "two"', "invalid"),
        ('"a\\b"', "invalid"),
        ("not UTF-8: \udcff", "invalid"),
        ('"\0"', "invalid"),
    ],
)
def test_what_is_no_key_is_refused(header: str, message: str) -> None:
    with pytest.raises(Refusal) as caught:
        read_key(header)

    assert (caught.value.attribute, caught.value.message) == ("idempotency_key", message)


@pytest.mark.parametrize("header", ["k", "k" * 255, quoted('"' * 255), 'a"b"', "a\\b", "\u00e9\U0001f44b", " "])
def test_what_has_up_to_255_characters_is_a_key(header: str) -> None:
    assert 1 <= len(read_key(header)) <= MAX_LENGTH


# As a form, and as JSON.
SAME: list[tuple[str, dict[str, Any]]] = [
    ("body=Hello&recipients[]=1&recipients[]=course_2", {"body": "Hello", "recipients": ["1", "course_2"]}),
    ("recipients[]=1&recipients[]=2", {"recipients": [1, 2]}),
    ("recipients[1]=2&recipients[0]=1", {"recipients": ["1", "2"]}),
    ("remove=1&remove=2", {"remove": [1, 2]}),
    ("group_conversation=true&bulk_message=false", {"group_conversation": True, "bulk_message": False}),
    (
        "conversation[starred]=true&conversation[subscribed]=false",
        {"conversation": {"starred": True, "subscribed": False}},
    ),
    ("conversation[starred]=true", {"conversation[starred]": "true"}),
    ("recipients[]=1", {"recipients": [None, 1]}),
    ("a=1.5&b", {"b": None, "a": 1.5}),
    ("body=1&access_token=secret&as_user_id=7&_method=put", {"body": 1, "access_token": "other"}),
]
OTHER = [
    ("body=1", {"body": "2"}),
    ("body=1", {}),
    ("body=", {}),
    ("body=1", {"body": ["1"]}),
    ("recipients[]=1&recipients[]=2", {"recipients": ["2", "1"]}),
    ("a[0]=1", {"a": {"0": "1"}}),
    ("a=true", {"a": "True"}),
    ("a[b]=1", {"a": {"c": "1"}}),
]


@pytest.mark.parametrize(("form", "body"), SAME)
def test_a_form_and_json_are_not_told_apart(form: str, body: dict[str, Any]) -> None:
    assert fingerprint("POST", "/", read_form(form.encode())) == fingerprint(
        "POST", "/", read_json(json.dumps(body).encode())
    )


@pytest.mark.parametrize(("form", "body"), OTHER)
def test_other_parameters_are_another_request(form: str, body: dict[str, Any]) -> None:
    assert fingerprint("POST", "/", read_form(form.encode())) != fingerprint(
        "POST", "/", read_json(json.dumps(body).encode())
    )


@given(st.dictionaries(st.text(st.sampled_from("abc"), min_size=1), st.one_of(KEYS, st.integers(), st.booleans())))
def test_scalars_are_the_same_in_either_encoding_and_any_order(body: dict[str, Any]) -> None:
    pairs = [(name, json.dumps(value) if not isinstance(value, str) else value) for name, value in body.items()]
    form = urlencode(pairs[::-1], quote_via=quote).encode()

    assert fingerprint("PUT", "/x", read_form(form)) == fingerprint("PUT", "/x", body)


def test_method_and_path_belong_to_the_request() -> None:
    made = {fingerprint(method, path, {}) for method in ("POST", "PUT") for path in ("/a", "/b")}

    assert len(made) == 4
