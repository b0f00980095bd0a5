"""From a JWT as it was sent to who comes with it."""

import time
from collections import OrderedDict

import orjson
from jwt import PyJWK, PyJWS
from jwt.exceptions import InvalidSignatureError, PyJWTError

from service.domain.jwt import Bearer, Expected, Unacceptable, read_claims
from service.domain.tokens import hash_token
from service.runtime.jwt.keys import ALGORITHMS, Keys, KeySet, UnknownKey

MAX_LENGTH = 16_384  # characters of a token; more does not fit in a header either
_DOTS = 2
_REMEMBERED = 10_000  # tokens, some kilobytes each at most


def is_jwt(token: str) -> bool:
    """Whether a token has the form of a signed JWT, which none of Clarion's own has."""
    return token.count(".") == _DOTS


class Verifier:
    """Verifies with the present keys. What it has verified it remembers until the token expires or the keys change."""

    def __init__(self, keys: Keys, expected: Expected) -> None:
        self._keys = keys
        self._expected = expected
        self._jws = PyJWS(ALGORITHMS, {"verify_signature": True, "enforce_minimum_key_length": True})
        self._verified: OrderedDict[bytes, Bearer] = OrderedDict()  # by the token's hash
        self._verified_by = keys.current

    async def verify(self, token: str) -> Bearer:
        """Who comes with it; Unacceptable. Whether its time has come and is not over is for the database to say."""
        keys = self._keys.current
        digest = hash_token(token)
        bearer = self._remembered(digest, keys)
        if bearer is None:
            try:
                bearer = self._verify(token, keys)
            except UnknownKey:
                keys = await self._keys.renewed(keys)
                bearer = self._verify(token, keys)
            self._remember(digest, keys, bearer)
        return bearer

    def _by(self, keys: KeySet) -> OrderedDict[bytes, Bearer]:
        """What was verified by this very set: a key that is withdrawn takes its tokens with it."""
        if keys is not self._verified_by:
            self._verified.clear()
            self._verified_by = keys
        return self._verified

    def _remembered(self, digest: bytes, keys: KeySet) -> Bearer | None:
        verified = self._by(keys)
        bearer = verified.get(digest)
        if bearer is None:
            return None
        if bearer.valid_until <= time.time():
            del verified[digest]
            return None
        verified.move_to_end(digest)
        return bearer

    def _remember(self, digest: bytes, keys: KeySet, bearer: Bearer) -> None:
        verified = self._by(keys)
        verified[digest] = bearer
        if len(verified) > _REMEMBERED:
            verified.popitem(last=False)

    def _verify(self, token: str, keys: KeySet) -> Bearer:
        if len(token) > MAX_LENGTH:
            raise Unacceptable("it is too long")
        try:
            # The rest of the token is not decoded for it.
            header = self._jws.get_unverified_header(f"{token.partition('.')[0]}..")
            algorithm = header.get("alg")
            if algorithm not in ALGORITHMS:
                raise Unacceptable("alg is not allowed")
            kid = header.get("kid")
            key = keys.find(kid, algorithm)
            payload = self._payload(token, key, named=kid is not None)
            claims = orjson.loads(payload)
        except (PyJWTError, ValueError) as error:
            raise Unacceptable(str(error)) from None
        if not isinstance(claims, dict):
            raise Unacceptable("it has no claims")
        return read_claims(claims, self._expected)

    def _payload(self, token: str, key: PyJWK, *, named: bool) -> bytes:
        try:
            payload: bytes = self._jws.decode(token, key, [key.algorithm_name])
        except InvalidSignatureError as error:
            if named:
                raise
            # A set of one key has been replaced by another of one key.
            raise UnknownKey(str(error)) from None
        return payload
