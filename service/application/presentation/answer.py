"""Answers as values, and the encoding of their bodies."""

from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar

import orjson

# datetimes: whole seconds and a Z, as service.domain.dates.iso writes them
_OPTIONS = orjson.OPT_OMIT_MICROSECONDS | orjson.OPT_UTC_Z
_NOTHING: Mapping[str, str] = {}


BodyT_co = TypeVar("BodyT_co", covariant=True)


class Answer(NamedTuple, Generic[BodyT_co]):
    """Status, body and headers as HTTP has them; the body is anything JSON can say, and datetimes in UTC."""

    status: int
    body: BodyT_co
    headers: Mapping[str, str] = _NOTHING


def encoded(body: object) -> bytes:
    """The body in JSON."""
    return orjson.dumps(body, option=_OPTIONS)
