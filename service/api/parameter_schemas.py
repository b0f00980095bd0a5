"""Request models as the OpenAPI document shows them: in the query, as a form, as JSON."""

import re
from typing import Any

from service.api.pagination import PageParameters
from service.api.viewpoint import GetParameters
from service.application.parameters.types import Parameters

_SHARED = (*GetParameters.model_fields, *PageParameters.model_fields)  # shown after a route's own
_PLACEHOLDER = re.compile(r"(\w+)/\{(\w+)\}")
_OF_WHAT = {"conversations": "conversation", "batches": "batch", "progress": "progress"}
_AS_USER = {
    "name": "as_user_id",
    "in": "query",
    "description": "Act as this user, for those who may: an id, `self`, `sis_user_id:…`, `sis_login_id:…` or `uuid:…`.",
    "schema": {"type": "string"},
}

Schema = dict[str, Any]


def _plain(schema: Schema, shared: Schema) -> Schema:
    """Without what says only that the parameter may be absent, and with what it refers to put in place."""
    choices = [choice for choice in schema.pop("anyOf", []) if choice != {"type": "null"}]
    if len(choices) == 1:
        schema = choices[0] | schema
    if "$ref" in schema:
        schema = shared[schema.pop("$ref").rpartition("/")[2]] | schema
    for name in ("title", "default"):
        schema.pop(name, None)
    if "properties" in schema:
        schema["properties"] = {name: _plain(each, shared) for name, each in schema["properties"].items()}
    return schema


def _properties(model: type[Parameters]) -> dict[str, Schema]:
    whole = model.model_json_schema()
    shared = whole.get("$defs", {})
    names = sorted(whole["properties"], key=lambda name: _SHARED.index(name) if name in _SHARED else -1)
    return {name: _plain(whole["properties"][name], shared) for name in names}


def _flat(properties: dict[str, Schema]) -> dict[str, Schema]:
    """Names as in a query or form: ``recipients[]``, ``conversation[starred]``."""
    found: dict[str, Schema] = {}
    for name, schema in properties.items():
        if schema.get("type") == "array":
            found[f"{name}[]"] = schema
        elif "properties" in schema:
            found |= {f"{name}[{inner}]": each for inner, each in schema["properties"].items()}
        else:
            found[name] = schema
    return found


def query_parameters(
    model: type[Parameters] | None, required: tuple[str, ...] = (), *, masquerade: bool
) -> list[dict[str, Any]]:
    """Parameter objects of a request without a body."""
    found: list[dict[str, Any]] = []
    for name, schema in _flat(_properties(model) if model else {}).items():
        made: dict[str, Any] = {"name": name, "in": "query", "required": name.removesuffix("[]") in required}
        if "description" in schema:
            made["description"] = schema.pop("description")
        found.append(made | {"schema": schema})
    return [*found, _AS_USER] if masquerade else found


def path_parameters(path: str) -> list[dict[str, Any]]:
    """Parameter objects of the placeholders; all of them are ids, of what stands before them in the path."""
    schema = {"type": "integer", "format": "int64", "minimum": 1}
    return [
        {"name": name, "in": "path", "required": True, "description": f"Of the {_OF_WHAT[before]}.", "schema": schema}
        for before, name in _PLACEHOLDER.findall(path)
    ]


def body_content(model: type[Parameters], required: tuple[str, ...]) -> dict[str, Any]:
    """Media types of a request body, each with its schema."""
    properties = _properties(model)
    flat = _flat(properties)
    form = _object(flat, tuple(name for name in flat if re.split(r"\[", name)[0] in required))
    return {
        "application/json": {"schema": _object(properties, required)},
        "application/x-www-form-urlencoded": {"schema": form},
        "multipart/form-data": {"schema": form},
    }


def _object(properties: dict[str, Schema], required: tuple[str, ...]) -> Schema:
    return {"type": "object", "properties": properties} | ({"required": list(required)} if required else {})
