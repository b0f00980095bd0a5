"""The messages of the AsyncAPI document: schemas from the contracts, headers, an example of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from inspect import getdoc
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel

from service.contracts import directory, events, examples
from service.contracts.asyncapi_schemas import (
    ANSWER_HEADERS,
    CORRELATION_ID,
    COUNT,
    DEATH,
    MESSAGE_ID,
    REPLY_TO,
    TRACEPARENT,
    TYPE,
    VERSION,
    headers,
    named,
    schemas_of,
)
from service.contracts.commands import AnyCommand
from service.contracts.requests import Request, RequestAnswer
from service.contracts.topology import CREATE_CONVERSATION


@dataclass(frozen=True, slots=True)
class Message:
    """One kind of message. ``key``: its name in the document; ``name``: on the wire, its type or routing key."""

    key: str
    name: str
    text: str
    headers: Mapping[str, Any]
    payload: Mapping[str, Any]
    examples: Sequence[Mapping[str, Any]]
    content_type: str = "application/json"
    correlated: bool = False

    def content(self) -> dict[str, Any]:
        """The message object."""
        correlation = {"correlationId": {"location": "$message.header#/correlation_id"}} if self.correlated else {}
        return {
            "name": self.name,
            "summary": self.text,
            "contentType": self.content_type,
            "headers": self.headers,
            "payload": self.payload,
            "examples": list(self.examples),
            **correlation,
        }


# Directory events by name, or by its beginning.
_DIRECTORY_TEXTS: Mapping[str, str] = MappingProxyType(
    {
        "user": "A person, with name, login and whether they can be written to.",
        "user_merged": "An account was merged into another one, which has all that it had.",
        "user_account_association": "A person belongs to an account.",
        "account": "An account, and which one it is in.",
        "account_user": "An administrator of an account, by a role.",
        "role_override": "What a role may do in an account or course, where it differs from the usual.",
        "course": "A course, and whether it is running.",
        "course_section": "A section of a course.",
        "enrollment": "A person in a course, in a role.",
        "enrollment_state": "What an enrolment amounts to by its dates.",
        "group_category": "A set of groups.",
        "group": "A group of a course or account.",
        "group_membership": "A person in a group; those accepted are recipients.",
        "attachment": "A file; one in the folder of conversation attachments can be sent along.",
    }
)


def _command(command: AnyCommand) -> Message:
    return Message(
        key=f"command.{command.name}",
        name=command.name,
        text=_first_line(type(command)),
        headers=headers(MESSAGE_ID, TYPE, TRACEPARENT, required=("message_id", "type")),
        payload=named("commands", type(command)),
        examples=[
            {
                "headers": {
                    "message_id": command.message_id,
                    "type": command.name,
                    "traceparent": examples.TRACEPARENT,
                },
                "payload": command.model_dump(mode="json"),
            }
        ],
    )


def _event(name: str, example: Mapping[str, Any]) -> Message:
    model = events.EVENTS[name]
    return Message(
        key=f"event.{name}",
        name=name,
        text=_first_line(model),
        headers=headers(MESSAGE_ID, TYPE, VERSION, TRACEPARENT, required=("message_id", "type", events.VERSION_HEADER)),
        payload=_about(name, named("events", model)),
        examples=[
            {
                "headers": {
                    "message_id": examples.message_id(name),
                    "type": name,
                    events.VERSION_HEADER: events.VERSION,
                    "traceparent": examples.TRACEPARENT,
                },
                "payload": dict(example),
            }
        ],
    )


def _event_set(name: str, example: Mapping[str, Any]) -> Message:
    model = events.EVENTS[name]
    return Message(
        key=f"event_set.{name}",
        name=name,
        text=_first_line(model),
        headers=headers(
            MESSAGE_ID, TYPE, VERSION, COUNT, required=("type", events.VERSION_HEADER, events.COUNT_HEADER)
        ),
        payload={
            "type": "array",
            "items": _about(name, named("events", model)),
            "minItems": 1,
            "maxItems": events.MAX_SET_EVENTS,
        },
        examples=[
            {
                "headers": {
                    "message_id": examples.set_id(name),
                    "type": name,
                    events.VERSION_HEADER: events.VERSION,
                    events.COUNT_HEADER: 1,
                },
                "payload": [dict(example)],
            }
        ],
    )


def _directory_event(name: str, body: type[BaseModel]) -> Message:
    envelope = {
        "type": "object",
        "required": ["metadata", "body"],
        "properties": {"metadata": named("directory", directory.Metadata), "body": named("directory", body)},
    }
    return Message(
        key=f"directory.{name}",
        name=name,
        text=_DIRECTORY_TEXTS.get(name) or _DIRECTORY_TEXTS[name.rpartition("_")[0]],
        headers={"type": "object"},
        payload=_about(name, envelope),
        examples=[{"payload": dict(examples.DIRECTORY[name])}],
    )


def _about(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema for events of that name alone."""
    metadata = {"properties": {"event_name": {"const": name}}}
    return {"allOf": [schema, {"properties": {"metadata": metadata}}]}


def _first_line(model: type[BaseModel]) -> str:
    return (getdoc(model) or "").partition("\n")[0]


COMMANDS = [_command(command) for command in examples.COMMANDS]
EVENTS = [_event(name, example) for name, example in examples.EVENTS.items()]
EVENT_SETS = [_event_set(name, example) for name, example in examples.EVENTS.items()]
DIRECTORY = [_directory_event(name, body) for name, body in directory.BODIES.items()]

REQUEST = Message(
    key="request.conversation.create",
    name=CREATE_CONVERSATION,
    text="Send a message in the name of a user, once for each key.",
    headers=headers(REPLY_TO, CORRELATION_ID, TRACEPARENT),
    payload={"allOf": [named("requests", Request), {"$ref": "#/components/schemas/requests.Parameters"}]},
    examples=(
        {
            "headers": {"reply_to": "orders.answers", "correlation_id": "17", "traceparent": examples.TRACEPARENT},
            "payload": dict(examples.REQUEST),
        },
    ),
    correlated=True,
)
ANSWER = Message(
    key="answer.conversation.create",
    name=CREATE_CONVERSATION,
    text="What POST /conversations would have answered, status and body.",
    headers=headers(CORRELATION_ID, TYPE, ANSWER_HEADERS, TRACEPARENT, required=("type",)),
    payload=named("requests", RequestAnswer),
    examples=(
        {
            "headers": {"correlation_id": "17", "type": CREATE_CONVERSATION, "X-Conversation-Batch-Id": "7"},
            "payload": dict(examples.ACCEPTED),
        },
        {
            "headers": {"correlation_id": "17", "type": CREATE_CONVERSATION},
            "payload": dict(examples.REFUSED),
        },
    ),
    correlated=True,
)
DEAD_LETTER = Message(
    key="dead_letter",
    name="dead_letter",
    text="A message that could not be handled, as it came, its own properties and headers included.",
    headers=headers(DEATH),
    payload={"description": "The bytes of the message, whatever they are; no JSON of a contract need be in them."},
    examples=({"headers": dict(examples.DEAD_LETTER), "payload": examples.UNREADABLE.decode()},),
    content_type="application/octet-stream",
)


def schemas(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """All that the payloads refer to, by name; ``parameters`` is the schema of those of POST /conversations."""
    return {
        **schemas_of("commands", [type(command) for command in examples.COMMANDS], "validation"),
        **schemas_of("events", list(events.EVENTS.values()), "serialization"),
        **schemas_of("directory", [directory.Metadata, *dict.fromkeys(directory.BODIES.values())], "validation"),
        **schemas_of("requests", [Request, RequestAnswer], "validation"),
        "requests.Parameters": dict(parameters),
    }
