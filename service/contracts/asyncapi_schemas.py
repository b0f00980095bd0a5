"""Schemas of bodies and headers for the AsyncAPI document."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from service.contracts.events import COUNT_HEADER, MAX_SET_EVENTS, VERSION_HEADER
from service.contracts.requests import OMITTED, REPLAYED

# Where a rule comes from: "(CONTRACT 5)".
_SOURCE = re.compile(r" \((?:CONTRACT|canvas/)[^)]*\)")
_PROPERTY = "An AMQP property, no entry of the headers: "

MESSAGE_ID: Mapping[str, Any] = {
    "message_id": {
        "type": "string",
        "description": _PROPERTY + "the same whenever this message comes again, so dedupe by it.",
    }
}
TYPE: Mapping[str, Any] = {
    "type": {"type": "string", "description": _PROPERTY + "the message's name, which is its routing key as well."}
}
VERSION: Mapping[str, Any] = {
    VERSION_HEADER: {"type": "integer", "description": "Version of the contract; another number is another meaning."}
}
COUNT: Mapping[str, Any] = {
    COUNT_HEADER: {"type": "integer", "minimum": 1, "maximum": MAX_SET_EVENTS, "description": "Events in the set."}
}
TRACEPARENT: Mapping[str, Any] = {
    "traceparent": {
        "type": "string",
        "description": "W3C trace context of what caused the message; absent where there is none.",
        "pattern": "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}",
    }
}
REPLY_TO: Mapping[str, Any] = {
    "reply_to": {"type": "string", "description": _PROPERTY + "the queue for the answer; without it there is none."}
}
CORRELATION_ID: Mapping[str, Any] = {
    "correlation_id": {"type": "string", "description": _PROPERTY + "any text of the requester; the answer has it too."}
}
ANSWER_HEADERS: Mapping[str, Any] = {
    "X-Conversation-Batch-Id": {"type": "string", "description": "The batch that a bulk send was accepted as."},
    REPLAYED: {"const": "true", "description": "The request had come before: this is its first answer again."},
    OMITTED: {"type": "string", "description": "The body was too long for a message, by so many bytes."},
}
_MOMENT = {"type": "string", "format": "date-time"}
DEATH: Mapping[str, Any] = {
    "reason": {"type": "string", "maxLength": 2000, "description": "Why, naming the key or version at fault."},
    "source": {"type": "string", "description": "The queue to which it had come."},
    "routing_key": {"type": "string", "description": "Under which it had come."},
    "first_time": {**_MOMENT, "description": "When it first could not be handled."},
    "last_time": {**_MOMENT, "description": "The same, since it was last requeued."},
    "attempts": {"type": "integer", "minimum": 1, "description": "How often it has become a dead letter."},
    "x-death": {"type": "array", "description": "In place of all these where RabbitMQ dead-lettered the message."},
}


def headers(*entries: Mapping[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    """A schema of these entries. AsyncAPI has no other place for the properties of AMQP than among the headers."""
    properties = {name: schema for entry in entries for name, schema in entry.items()}
    return {"type": "object", "properties": properties, "required": list(required)}


def named(contract: str, model: type[BaseModel]) -> dict[str, Any]:
    """Where the schema of the model stands in the document."""
    return {"$ref": f"#/components/schemas/{contract}.{model.__name__}"}


def schemas_of(contract: str, models: Sequence[type[BaseModel]], mode: JsonSchemaMode) -> dict[str, Any]:
    """Schemas of the models and of all that they are made of, by name."""
    template = f"#/components/schemas/{contract}.{{model}}"
    _, made = models_json_schema([(model, mode) for model in models], ref_template=template)
    return {f"{contract}.{name}": _public(schema) for name, schema in made["$defs"].items()}


def _public(schema: Any) -> Any:
    """For readers, who are to ignore what they do not know, however strictly Clarion's own tests look.

    Nor do they have the pages that docstrings refer to.
    """
    match schema:
        case dict():
            made = {key: _public(value) for key, value in schema.items()}
            if made.get("additionalProperties") is False:
                del made["additionalProperties"]
            if isinstance(made.get("description"), str):
                made["description"] = _SOURCE.sub("", made["description"])
            return made
        case list():
            return [_public(value) for value in schema]
        case _:
            return schema
