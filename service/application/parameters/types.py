"""Types of request models: how Canvas reads a parameter's value, whatever encoding it came in.

A model is a ``Parameters`` whose fields have a default: that is what an absent parameter means.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, WithJsonSchema
from pydantic.config import JsonDict
from pydantic_core import PydanticUseDefault

from service.domain.brackets import Repeated
from service.domain.errors import invalid, unreadable
from service.domain.ids import parse_id

# How many values a list of parameters may have, split at commas where it is; as many as Canvas takes conversation_ids.
MAX_ITEMS = 500
# Users and contexts in one request; a context may stand for any number of people.
MAX_RECIPIENTS = 10_000

_TRUE = frozenset({"yes", "y", "true", "t", "on"})
_NOT_ZERO = re.compile(r"\s*[+-]?[0_]*[1-9]")


def _scalar(value: Any) -> Any:
    """The value of a scalar parameter: the last of repeats; the default instead of an array or object."""
    if isinstance(value, Repeated):
        value = value[-1]
    if isinstance(value, list | dict):
        raise PydanticUseDefault
    return value


def _string_of(scalar: str | float | bool) -> str:
    return str(scalar).lower() if isinstance(scalar, bool) else str(scalar)


def _boolean(value: Any) -> bool:
    value = _scalar(value)
    if value is None or isinstance(value, bool):
        return bool(value)
    text = _string_of(value).lower()
    return text in _TRUE or _NOT_ZERO.match(text) is not None


def _string(value: Any) -> str | None:
    value = _scalar(value)
    return None if value is None else _string_of(value)


def _items(value: Any) -> list[Any]:
    """The values of an array parameter; a scalar is an array of one, an object is absent."""
    if isinstance(value, dict):
        raise PydanticUseDefault
    if not isinstance(value, list):
        value = [value]
    return [item for item in value if item is not None]


def _strings(value: Any) -> list[str]:
    texts = (_string_of(item) for item in _items(value) if not isinstance(item, list | dict))
    return [text for text in texts if text]


def _split(texts: list[str]) -> list[str]:
    return [stripped for text in texts for part in text.split(",") if (stripped := part.strip())]


def _ids(value: Any) -> list[int]:
    # The id 0 is no record's, so it is left out with what is none.
    return [id_ for text in _split(_strings(value)) if (id_ := parse_id(text))]


def _raw(value: Any) -> list[Any]:
    if isinstance(value, list) and not isinstance(value, Repeated):
        return value
    items = _items(value)
    return [part for item in items for part in (_split([item]) if isinstance(item, str) else [item])]


def _array(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise PydanticUseDefault
    return [item for item in value if item is not None]


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not value:
        raise PydanticUseDefault
    return value


def _items_of(*types: str, **more: int) -> WithJsonSchema:
    return WithJsonSchema({"type": "array", "items": {"type": list(types) if types[1:] else types[0]}, **more})


_LIMITED = Field(max_length=MAX_ITEMS)


CanvasBool = Annotated[bool, BeforeValidator(_boolean)]
"""conventions.md 8; an array or object counts as absent, so the field's default says what that is."""

GivenBool = Annotated[bool | None, BeforeValidator(_boolean)]
"""As CanvasBool, where "not given" is a third answer. Default None."""

ScalarString = Annotated[str | None, BeforeValidator(_string)]
"""The last of repeats; numbers as text; null, an array or an object as absent. Default None."""

StringList = Annotated[Sequence[str], BeforeValidator(_strings), _LIMITED]
"""An array, bare repeats or a scalar; empty strings, nulls and nested values are dropped. Default ().

More than MAX_ITEMS are refused, here and in the lists below."""

CommaList = Annotated[Sequence[str], BeforeValidator(lambda value: _split(_strings(value))), _LIMITED]
"""As StringList, and every string is also split at commas and trimmed."""

IdList = Annotated[Sequence[int], BeforeValidator(_ids), _LIMITED]
"""As CommaList, and only what can be an id stays (1 to 2^63 - 1)."""

RawList = Annotated[
    Sequence[Any],
    BeforeValidator(_raw),
    Field(max_length=MAX_RECIPIENTS),
    _items_of("string", maxItems=MAX_RECIPIENTS),
]
"""Items with the types JSON gave them. A string that stands for the array is split at commas; the items of
a real array are not (endpoints.md 4.2 resolution step 1). A blank string is []. More than
MAX_RECIPIENTS are refused."""

RealArray = Annotated[Sequence[Any] | None, BeforeValidator(_array), _items_of("string", "integer")]
"""An array or bare repeats, items as they came without nulls; anything else is absent. Default None."""

IF_FILLED = BeforeValidator(_object)
"""For a nested model: anything but an object with a key in it counts as absent."""

Presence = Annotated[bool, BeforeValidator(lambda value: value is not None)]
"""A presence test (conventions.md 8): any value but null, even "false". Default False."""


def one_of(values: Iterable[str]) -> JsonDict:
    """For ``json_schema_extra``: what the document offers. Whether anything else is refused, the action says."""
    return {"enum": [str(value) for value in values]}


class Parameters(BaseModel):
    """Base of request models: unknown parameters are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


Model = TypeVar("Model", bound=Parameters)


def parse(model: type[Model], parameters: dict[str, Any]) -> Model:
    """The model of a request's parameters.

    Refusal(INVALID_ATTRIBUTE) names a list that is too long, Refusal(BAD_REQUEST) the fields that do not fit.
    """
    try:
        return model.model_validate(parameters)
    except ValidationError as error:
        for each in error.errors():
            if each["type"] == "too_long":
                raise invalid(str(each["loc"][0]), f"more than {each['ctx']['max_length']} values") from None
        names = sorted({".".join(str(step) for step in each["loc"]) for each in error.errors()})
        raise unreadable(f"{', '.join(names)} is invalid") from None
