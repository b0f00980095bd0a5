"""Types of request models: how Canvas reads a parameter's value, whatever encoding it came in.

A model is a ``Parameters`` whose fields have a default: that is what an absent parameter means.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, TypeVar, cast

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, ValidationInfo, WithJsonSchema
from pydantic.config import JsonDict
from pydantic_core import PydanticUseDefault

from service.domain.brackets import Repeated, array_of, text_of
from service.domain.errors import invalid, unreadable
from service.domain.ids import localised, parse_id

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


def _boolean(value: Any) -> bool:
    value = _scalar(value)
    if value is None or isinstance(value, bool):
        return bool(value)
    text = text_of(value).lower()
    return text in _TRUE or _NOT_ZERO.match(text) is not None


def _string(value: Any) -> str | None:
    value = _scalar(value)
    return None if value is None else text_of(value)


def _items(value: Any) -> list[Any]:
    """The values of an array parameter; a scalar is an array of one, an object is absent."""
    value = array_of(value)
    if isinstance(value, dict):
        raise PydanticUseDefault
    if not isinstance(value, list):
        value = [value]
    return [item for item in value if item is not None]


def _strings(value: Any) -> list[str]:
    texts = (text_of(item) for item in _items(value) if not isinstance(item, list | dict))
    return [text for text in texts if text]


def _split(texts: list[str]) -> list[str]:
    return [stripped for text in texts for part in text.split(",") if (stripped := part.strip())]


def _shard(info: ValidationInfo) -> int:
    """The installation whose global ids are understood, as ``parse`` was given it."""
    return cast("int", info.context)


def _local(item: Any, info: ValidationInfo) -> Any:
    """An item that names a record, with its type; ``info`` knows the installation (``parse``)."""
    if isinstance(item, str):
        return localised(item, _shard(info))
    if isinstance(item, int) and not isinstance(item, bool):
        return int(localised(str(item), _shard(info)))
    return item


def _code(value: Any, info: ValidationInfo) -> str | None:
    text = _string(value)
    return None if text is None else localised(text, _shard(info))


def _codes(value: Any, info: ValidationInfo) -> list[str]:
    return [localised(text, _shard(info)) for text in _strings(value)]


def _ids(value: Any, info: ValidationInfo) -> list[int]:
    # The id 0 is no record's, so it is left out with what is none.
    return [id_ for text in _split(_codes(value, info)) if (id_ := parse_id(text))]


def _sent(value: Any) -> list[Any]:
    value = array_of(value)
    items = _items(value)
    if not isinstance(value, list) or isinstance(value, Repeated):
        items = [part for item in items for part in (_split([item]) if isinstance(item, str) else [item])]
    return items


def _raw(value: Any, info: ValidationInfo) -> list[Any]:
    return [_local(item, info) for item in _sent(value)]


def _given(value: Any) -> str | None:
    if isinstance(value, Repeated):
        value = value[-1]
    return None if value is None else str(value) if isinstance(value, list | dict) else text_of(value)


def _array(value: Any, info: ValidationInfo) -> list[Any]:
    value = array_of(value)
    if not isinstance(value, list):
        raise PydanticUseDefault
    return [_local(item, info) for item in value if item is not None]


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

GivenText = Annotated[str | None, BeforeValidator(_given)]
"""As ScalarString where nothing that was given may count as absent: an array or an object is a strange text."""

StringList = Annotated[Sequence[str], BeforeValidator(_strings), _LIMITED]
"""An array, bare repeats or a scalar; empty strings, nulls and nested values are dropped. Default ().

More than MAX_ITEMS are refused, here and in the lists below."""

ScalarCode = Annotated[str | None, BeforeValidator(_code)]
"""As ScalarString, for an id or a code with an id in it: global ids of this installation come as local ones."""

CodeList = Annotated[Sequence[str], BeforeValidator(_codes), _LIMITED]
"""As StringList, for ids and codes with ids in them: global ids of this installation come as local ones."""

CommaList = Annotated[Sequence[str], BeforeValidator(lambda value: _split(_strings(value))), _LIMITED]
"""As StringList, and every string is also split at commas and trimmed."""

IdList = Annotated[Sequence[int], BeforeValidator(_ids), _LIMITED]
"""As CommaList, and only what can be an id stays, global ids of this installation as local ones."""

RawList = Annotated[
    Sequence[Any],
    BeforeValidator(_raw),
    Field(max_length=MAX_RECIPIENTS),
    _items_of("string", maxItems=MAX_RECIPIENTS),
]
"""Items with the types JSON gave them, without nulls; global ids of this installation as local ones. A string that
stands for the array is split at commas; items of a real array are not (endpoints.md 4.2 resolution step 1). A blank
string is []. More than MAX_RECIPIENTS are refused."""

SentList = Annotated[Sequence[Any], BeforeValidator(_sent), Field(max_length=MAX_RECIPIENTS)]
"""The items of a RawList as they were sent, global ids and all."""

RealArray = Annotated[Sequence[Any] | None, BeforeValidator(_array), _items_of("string", "integer")]
"""An array or bare repeats, items as in RawList; anything else is absent. Default None."""

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


def parse(model: type[Model], parameters: dict[str, Any], *, shard_id: int) -> Model:
    """The model of a request's parameters.

    Refusal(INVALID_ATTRIBUTE) names a list that is too long, Refusal(BAD_REQUEST) the fields that do not fit.
    ``shard_id``: the installation whose global ids are understood (CONTRACT 6.16).
    """
    try:
        return model.model_validate(parameters, context=shard_id)
    except ValidationError as error:
        for each in error.errors():
            if each["type"] == "too_long":
                raise invalid(str(each["loc"][0]), f"more than {each['ctx']['max_length']} values") from None
        names = sorted({".".join(str(step) for step in each["loc"]) for each in error.errors()})
        raise unreadable(f"{', '.join(names)} is invalid") from None
