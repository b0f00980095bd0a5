"""Which tokens are taken as the issuer's, and which are not whatever they say."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.domain.jwt import Bearer, Expected, Unacceptable, UserKey
from service.domain.user_forms import UserForm
from service.runtime.jwt import verifier as verifying
from service.runtime.jwt.keys import Keys
from service.runtime.jwt.source import SourceError
from service.runtime.jwt.verifier import Verifier
from tests.support.issuer import AUDIENCE, ISSUER, SigningKey, key_set

EXPECTED = Expected(ISSUER, AUDIENCE, "sub", UserKey.UUID, shard_id=1)
FIRST = SigningKey("first")
RSA = SigningKey("rsa", "RS256")


class Published:
    """A source that has what it was given; how sources read is tested in test_jwt_keys.py."""

    interval = 3600.0
    retry = (3600.0, 3600.0)

    def __init__(self, *keys: SigningKey | Mapping[str, Any]) -> None:
        self.document = key_set(keys).encode()

    async def read(self) -> bytes:
        return self.document


async def known_by(*keys: SigningKey | Mapping[str, Any]) -> Verifier:
    """A verifier of a set that does not change."""
    held = Keys(Published(*keys))
    await held.look()
    return Verifier(held, EXPECTED)


async def verified(token: str, *keys: SigningKey | Mapping[str, Any]) -> Bearer:
    return await (await known_by(*keys)).verify(token)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """No other keys will come."""
    monkeypatch.setattr("service.runtime.jwt.keys.PATIENCE", 0)


def segment(content: object) -> str:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def unsigned(header: object) -> str:
    """A token up to its signature."""
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": time.time() + 600, "sub": "u-1"}
    return f"{segment(header)}.{segment(claims)}"


@pytest.mark.parametrize("algorithm", ["RS256", "PS256", "ES256", "EdDSA"])
async def test_each_of_four_algorithms_is_taken(algorithm: str) -> None:
    key = SigningKey("k", algorithm)
    without_alg = {name: value for name, value in key.jwk.items() if name not in ("alg", "use", "key_ops")}

    for published in (key.jwk, without_alg):
        assert (await verified(key.token("u-1"), published, FIRST)).user == UserForm(uuid="u-1")


@pytest.mark.parametrize("algorithm", ["RS512", "PS384", "ES384"])
async def test_no_other_algorithm_is(algorithm: str) -> None:
    key = SigningKey("k", algorithm)
    without_alg = {name: value for name, value in key.jwk.items() if name != "alg"}

    for published in (key.jwk, without_alg):
        with pytest.raises(Unacceptable, match="alg is not allowed"):
            await verified(key.token("u-1"), published)


async def test_no_secret_signs_and_neither_does_none() -> None:
    public = json.dumps(RSA.jwk).encode()
    secret = {"kty": "oct", "kid": "rsa", "k": segment(public)}
    for algorithm in ("HS256", "none", "None", "", None, ["RS256"], {"RS256": 1}):
        header = {"alg": algorithm, "kid": "rsa"}
        message = unsigned(header)
        signed = f"{message}.{segment(hmac.digest(public, message.encode(), hashlib.sha256))}"
        for token in (signed, f"{message}."):
            for published in (RSA.jwk, secret):
                with pytest.raises(Unacceptable):
                    await verified(token, published)


async def test_a_key_signs_with_its_own_algorithm_alone() -> None:
    with pytest.raises(Unacceptable, match="something else"):
        await verified(SigningKey("rsa", "PS256").token("u-1"), RSA)
    with pytest.raises(Unacceptable, match="something else"):
        await verified(SigningKey("first", "RS256").token("u-1"), FIRST)


@pytest.mark.parametrize("purpose", [{"use": "enc"}, {"key_ops": ["sign"]}, {"kty": "oct"}, {"crv": "P-384"}])
async def test_a_key_of_another_purpose_verifies_nothing(purpose: dict[str, Any]) -> None:
    with pytest.raises(Unacceptable):
        await verified(FIRST.token("u-1"), FIRST.jwk | purpose)


@pytest.mark.parametrize("broken", [{"x": "AA"}, {"x": "!"}, {"x": None}, {"y": FIRST.jwk["x"]}, {"x": 1}])
async def test_a_broken_key_is_no_fault_of_the_others(broken: dict[str, Any]) -> None:
    held = await known_by(FIRST.jwk | broken, RSA)

    with pytest.raises(Unacceptable):
        await held.verify(FIRST.token("u-1"))
    assert (await held.verify(RSA.token("u-1"))).user.uuid == "u-1"


async def test_a_short_rsa_key_verifies_nothing() -> None:
    short = RSA.jwk | {"n": segment(b"\xff" * 127 + b"\x01")}  # 1024 bits

    with pytest.raises(Unacceptable, match="2048"):
        await verified(RSA.token("u-1"), short)


async def test_of_several_keys_with_one_id_none_is_taken() -> None:
    other = SigningKey("first", number=2)

    for token in (FIRST.token("u-1"), other.token("u-1")):
        with pytest.raises(Unacceptable, match="several"):
            await verified(token, FIRST, other)


async def test_of_keys_with_one_id_the_one_that_suits_the_algorithm_is_taken() -> None:
    """RFC 7517 4.5: keys of different types may share an id."""
    encrypting = SigningKey("first", number=2).jwk | {"use": "enc"}
    held = await known_by(FIRST, SigningKey("first", "RS256"), encrypting)

    for algorithm in ("ES256", "RS256"):
        assert (await held.verify(SigningKey("first", algorithm).token("u-1"))).user.uuid == "u-1"


async def test_without_an_id_the_only_key_is_meant() -> None:
    nameless = SigningKey(None)
    encrypting = SigningKey("enc", "RS256").jwk | {"use": "enc", "alg": "RSA-OAEP"}

    assert (await verified(nameless.token("u-1"), nameless)).user.uuid == "u-1"
    assert (await verified(nameless.token("u-1"), FIRST, encrypting)).user.uuid == "u-1"
    with pytest.raises(Unacceptable, match="several"):
        await verified(nameless.token("u-1"), nameless, RSA)


@pytest.mark.parametrize(
    "header",
    [{"crit": ["exp"], "exp": 1}, {"crit": []}, {"b64": False, "crit": ["b64"]}, {"kid": 1}, {"kid": "other"}],
)
async def test_a_header_that_is_not_understood(header: dict[str, Any]) -> None:
    with pytest.raises(Unacceptable):
        await verified(FIRST.token("u-1", header=header), FIRST)


async def test_another_signature_another_key_and_other_claims() -> None:
    good, held = FIRST.token("u-1"), await known_by(FIRST)
    head, claims, signature = good.split(".")
    other = FIRST.token("u-2").split(".")

    for bad in (
        SigningKey("first", number=2).token("u-1"),
        f"{head}.{other[1]}.{signature}",
        f"{head}.{claims}.{other[2]}",
        f"{head}.{claims}.",
        f"{head}..{signature}",
        f".{claims}.{signature}",
        good + "A",
        f"{head}.{claims}.{'A' * 20_000}",
    ):
        with pytest.raises(Unacceptable):
            await held.verify(bad)
    assert (await held.verify(good)).user.uuid == "u-1"


@given(st.text(), st.text(), st.text())
@settings(max_examples=50)
async def test_whatever_has_two_dots_is_unacceptable_and_no_fault(one: str, two: str, three: str) -> None:
    with pytest.raises(Unacceptable):
        await (await known_by(FIRST)).verify(f"{one}.{two}.{three}".encode("utf-8", "replace").decode())


async def test_what_is_signed_has_to_be_claims() -> None:
    for content in (b"[1]", b"no json", b"\xff", b"[" * 5_000):
        with pytest.raises(Unacceptable):
            await verified(FIRST.signed(content), FIRST)


async def test_a_verified_token_is_remembered_until_it_expires(monkeypatch: pytest.MonkeyPatch) -> None:
    held, token, last = await known_by(FIRST), FIRST.token("u-1"), FIRST.token("u-2", exp=time.time() - 61)
    first, over = await held.verify(token), await held.verify(last)

    assert await held.verify(token) is first
    assert await held.verify(last) is not over


async def test_no_more_tokens_are_remembered_than_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verifying, "_REMEMBERED", 2)
    held, tokens = await known_by(FIRST), [FIRST.token(f"u-{number}") for number in range(3)]
    first = [await held.verify(token) for token in tokens[:2]]
    assert await held.verify(tokens[0]) is first[0]

    await held.verify(tokens[2])

    assert await held.verify(tokens[0]) is first[0]
    assert await held.verify(tokens[1]) is not first[1]


async def test_a_withdrawn_key_takes_its_tokens_with_it() -> None:
    source = Published(FIRST, RSA)
    keys = Keys(source)
    await keys.look()
    held, tokens = Verifier(keys, EXPECTED), [FIRST.token("u-1"), RSA.token("u-1")]
    for token in tokens:
        await held.verify(token)

    source.document = key_set([RSA]).encode()
    await keys.look()

    with pytest.raises(Unacceptable):
        await held.verify(tokens[0])
    await held.verify(tokens[1])


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"keys": {}}', b"<html>", b"[" * 5_000])
async def test_what_is_no_key_set_leaves_the_keys_alone(document: bytes) -> None:
    source = Published(FIRST)
    keys = Keys(source)
    await keys.look()

    source.document = document
    with pytest.raises(SourceError):
        await keys.look()

    await Verifier(keys, EXPECTED).verify(FIRST.token("u-1"))
