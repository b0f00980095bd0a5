"""What the claims of a verified JWT say, and which are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.jwt import LEEWAY, Bearer, Expected, Unacceptable, UserKey, read_claims
from service.domain.user_forms import UserForm

EXPECTED = Expected("https://issuer.example", "clarion", "sub", UserKey.UUID, shard_id=1)
CLAIMS: dict[str, Any] = {"iss": "https://issuer.example", "aud": "clarion", "exp": 1_800_000_000, "sub": "u-1"}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


def read(expected: Expected = EXPECTED, **changed: object) -> Bearer:
    return read_claims(CLAIMS | changed, expected)


def by(key: UserKey) -> Expected:
    return Expected(EXPECTED.issuer, EXPECTED.audience, EXPECTED.user_claim, key, EXPECTED.shard_id)


@given(st.dictionaries(st.sampled_from(["iss", "aud", "exp", "nbf", "sub", "scope"]), anything))
def test_whatever_the_claims_are_they_are_read_or_unacceptable(changed: dict[str, Any]) -> None:
    try:
        bearer = read(**changed)
    except Unacceptable:
        return
    assert (bearer.user.uuid or "").isprintable()
    assert bearer.valid_until == (CLAIMS | changed)["exp"] + LEEWAY
    assert len(bearer.client) == 32


@given(st.floats(min_value=0, max_value=1e10), st.floats(min_value=0, max_value=1e10))
def test_both_times_have_the_leeway(expires: float, not_before: float) -> None:
    bearer = read(exp=expires, nbf=not_before)

    assert (bearer.valid_from, bearer.valid_until) == (not_before - 60, expires + 60)


@pytest.mark.parametrize(
    "changed",
    [
        {"iss": None},
        {"iss": "https://issuer.example/"},
        {"aud": None},
        {"aud": "other"},
        {"aud": ["other", "clarion2"]},
        {"aud": {"clarion": 1}},
        {"exp": None},
        {"exp": "1800000000"},
        {"exp": True},
        {"exp": float("nan")},
        {"exp": float("inf")},
        {"exp": 10**400},
        {"nbf": "yesterday"},
        {"sub": None},
        {"sub": ""},
        {"sub": ["u-1"]},
        {"sub": True},
        {"sub": 1.5},
        {"sub": "a\0b"},
        {"sub": "\ud800"},
        {"scope": 1},
        {"scope": ["url:GET|/api/v1/conversations", 1]},
    ],
)
def test_a_claim_that_is_missing_or_wrong(changed: dict[str, Any]) -> None:
    with pytest.raises(Unacceptable):
        read(**changed)


def test_the_audience_may_be_one_of_several() -> None:
    assert read(aud=["account", "clarion"]).user == UserForm(uuid="u-1")


@pytest.mark.parametrize(
    ("key", "value", "user"),
    [
        (UserKey.ID, 42, UserForm(42)),
        (UserKey.ID, "42", UserForm(42)),
        (UserKey.ID, "10000000000042", UserForm(42)),
        (UserKey.ID, "1~42", UserForm(42)),
        (UserKey.UUID, "42", UserForm(uuid="42")),
        (UserKey.SIS_ID, "S 42", UserForm(sis_id="S 42")),
        (UserKey.SIS_ID, 42, UserForm(sis_id="42")),
        (UserKey.LOGIN, "ada@institution.example", UserForm(login="ada@institution.example")),
    ],
)
def test_the_claim_names_a_user_by_the_key(key: UserKey, value: object, user: UserForm) -> None:
    assert read(by(key), sub=value).user == user


@pytest.mark.parametrize("value", ["u-1", "20000000000042", "-1", "9" * 30])
def test_what_is_no_id_of_this_installation_names_no_user(value: str) -> None:
    with pytest.raises(Unacceptable):
        read(by(UserKey.ID), sub=value)


def test_another_claim_may_name_the_user() -> None:
    expected = Expected(EXPECTED.issuer, EXPECTED.audience, "https://x.example/id", UserKey.UUID, 1)

    assert read(expected, **{"https://x.example/id": "u-2"}).user == UserForm(uuid="u-2")


url_scopes = st.lists(st.sampled_from(["url:GET|/a", "url:PUT|/b", "url:", "openid", "profile", ""]))


@given(url_scopes)
def test_only_scopes_of_routes_limit_as_text_and_as_a_list(scopes: list[str]) -> None:
    limiting = tuple(scope for scope in scopes if scope.startswith("url:")) or None

    assert read(scope=scopes).scopes == limiting
    assert read(scope=" ".join(scopes)).scopes == limiting


def test_without_the_claim_nothing_is_limited() -> None:
    assert read().scopes is None
    assert read(scope=None).scopes is None


@given(st.text(alphabet="abc1", min_size=1, max_size=3), st.text(alphabet="abc1", min_size=1, max_size=3))
def test_all_tokens_of_a_user_are_one_client_and_no_others(one: str, other: str) -> None:
    assert (read(sub=one, exp=1_700_000_000).client == read(sub=other, scope="openid").client) == (one == other)
