"""What a JWT says of who comes with it, once its signature is verified (CONTRACT 3.5 and 3.6)."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from service.domain.ids import localised, parse_id
from service.domain.user_forms import UserForm

LEEWAY = 60.0  # seconds by which the issuer's clock and the database's may differ
_FAR = 1e12  # seconds since 1970; a time beyond is none
_SCOPE = "url:"  # what begins otherwise is a scope of the issuer's own


class UserKey(StrEnum):
    """By what the user's claim names a user of the directory."""

    ID = "id"
    UUID = "uuid"
    SIS_ID = "sis_id"
    LOGIN = "login"


class Unacceptable(Exception):
    """A JWT that opens nothing; the message says why, for the log and never for who sent it."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What an installation asks of the claims."""

    issuer: str
    audience: str
    user_claim: str
    user_key: UserKey
    shard_id: int  # of this installation, for global ids


@dataclass(frozen=True, slots=True)
class Bearer:
    """Who comes with a verified JWT.

    ``valid_from`` and ``valid_until`` are seconds since 1970, with the leeway: at the latter it is valid no more. The
    database's clock decides. ``scopes``: the only routes; None for all. ``client``: 32 bytes, the same for all tokens
    of the user, who cannot get a throttle of one's own by having another issued.
    """

    user: UserForm
    valid_from: float
    valid_until: float
    scopes: tuple[str, ...] | None
    client: bytes


def read_claims(claims: Mapping[str, object], expected: Expected) -> Bearer:
    """Who comes with these claims of a verified token; Unacceptable when one of them is missing or wrong."""
    if claims.get("iss") != expected.issuer:
        raise Unacceptable("iss is another issuer")
    if not _is_among(expected.audience, claims.get("aud")):
        raise Unacceptable("aud is another audience")
    expires, not_before = _moment(claims, "exp"), _moment(claims, "nbf")
    if expires is None:
        raise Unacceptable("exp is missing")
    name = _name(claims, expected.user_claim)
    return Bearer(
        user=_user(name, expected),
        valid_from=-_FAR if not_before is None else not_before - LEEWAY,
        valid_until=expires + LEEWAY,
        scopes=_scopes(claims.get("scope")),
        client=hashlib.sha256(f"{expected.issuer}\0{name}".encode()).digest(),
    )


def _is_among(audience: str, named: object) -> bool:
    return audience in named if isinstance(named, list) else audience == named


def _moment(claims: Mapping[str, object], claim: str) -> float | None:
    value = claims.get(claim)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -_FAR <= value <= _FAR:
        raise Unacceptable(f"{claim} is no time")
    return float(value)


def _name(claims: Mapping[str, object], claim: str) -> str:
    value = claims.get(claim)
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not text or not text.isprintable():
        raise Unacceptable(f"{claim} names no user")
    return text


def _user(name: str, expected: Expected) -> UserForm:
    match expected.user_key:
        case UserKey.ID:
            user_id = parse_id(localised(name, expected.shard_id))
            if user_id is None:
                raise Unacceptable(f"{expected.user_claim} is no id")
            return UserForm(user_id)
        case UserKey.UUID:
            return UserForm(uuid=name)
        case UserKey.SIS_ID:
            return UserForm(sis_id=name)
        case UserKey.LOGIN:
            return UserForm(login=name)


def _scopes(value: object) -> tuple[str, ...] | None:
    values = value.split(" ") if isinstance(value, str) else [] if value is None else value
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise Unacceptable("scope is neither text nor a list of texts")
    return tuple(each for each in values if each.startswith(_SCOPE)) or None
