"""The AsyncAPI document: valid by the official schema, whole, and its examples true to its own schemas."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from service.api.asyncapi import document_of
from service.contracts import directory, events, examples
from service.contracts.topology import COMMANDS, Topology

SCHEMA = Path(__file__).parent / "schemas" / "asyncapi-3.0.0.json"
PREFIX = "school.example"
DOCUMENT = document_of(PREFIX, "amqp")
MESSAGES = DOCUMENT["components"]["messages"]


def at(reference: str) -> Any:
    """What stands at ``#/a/b``."""
    found: Any = DOCUMENT
    for step in reference.removeprefix("#/").split("/"):
        found = found[step]
    return found


def references(part: Any) -> Iterator[str]:
    """Every ``$ref`` within the part."""
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]
        for value in part.values():
            yield from references(value)
    elif isinstance(part, list):
        for value in part:
            yield from references(value)


def faults(schema: Any, value: Any) -> list[str]:
    """What is wrong with the value, by a schema of the document."""
    whole = {"allOf": [schema], "components": DOCUMENT["components"]}
    validator = jsonschema_rs.Draft7Validator(whole, validate_formats=True)
    return [f"{'/'.join(map(str, error.instance_path))}: {error.message}" for error in validator.iter_errors(value)]


def test_it_is_valid_by_the_official_schema() -> None:
    validator = jsonschema_rs.validator_for(json.loads(SCHEMA.read_bytes()))

    assert [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(DOCUMENT)] == []
    assert not validator.is_valid(DOCUMENT | {"operations": {"x": {"action": "shout", "channel": {"$ref": "#/"}}}})


def test_what_it_refers_to_is_there() -> None:
    found = set(references(DOCUMENT))

    assert all(at(reference) for reference in found)
    assert {f"#/components/schemas/{name}" for name in DOCUMENT["components"]["schemas"]} <= found
    assert {f"#/components/messages/{name}" for name in MESSAGES} <= found
    assert {f"#/channels/{name}" for name in DOCUMENT["channels"]} <= found


def test_an_operation_takes_messages_of_its_channel() -> None:
    for operation in DOCUMENT["operations"].values():
        channel = operation["channel"]["$ref"]
        assert operation["messages"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])


@pytest.mark.parametrize("key", MESSAGES)
def test_its_examples_hold(key: str) -> None:
    message = MESSAGES[key]

    assert message["examples"]
    for example in message["examples"]:
        assert faults(message["payload"], example["payload"]) == []
        assert faults(message["headers"], example.get("headers", {})) == []


@pytest.mark.parametrize("name", events.EVENTS)
def test_an_event_with_more_keys_is_still_one_and_with_fewer_is_none(name: str) -> None:
    payload = MESSAGES[f"event.{name}"]["payload"]
    example = examples.EVENTS[name]

    assert faults(payload, {**example, "new": 1, "body": {**example["body"], "new": 1}}) == []
    assert faults(payload, {"metadata": example["metadata"]})
    assert faults(payload, {**example, "metadata": {**example["metadata"], "event_name": "another"}})


@pytest.mark.parametrize("name", directory.BODIES)
def test_the_examples_of_a_directory_event_carry_every_key_that_is_read(name: str) -> None:
    event = directory.parse_event(json.dumps(examples.DIRECTORY[name]))

    assert isinstance(event, directory.DirectoryEvent)
    only_of_a_merge = {"merged_into_user_id"} if name in {"user_created", "user_updated"} else set()
    assert event.body.model_fields_set == type(event.body).model_fields.keys() - only_of_a_merge


@pytest.mark.parametrize("key", ["user_id", "course_id"])
def test_ids_of_the_directory_may_be_numbers_or_strings(key: str) -> None:
    message = MESSAGES["directory.enrollment_created"]["payload"]
    example = examples.DIRECTORY["enrollment_created"]

    for accepted in (42, "42", "10000000000042"):
        assert faults(message, {**example, "body": {**example["body"], key: accepted}}) == []
    for refused in ("", "x", 0, None, 1.5):
        assert faults(message, {**example, "body": {**example["body"], key: refused}})


def test_it_holds_everything_that_goes_over_the_broker() -> None:
    topology = Topology(PREFIX)
    bindings = [channel["bindings"]["amqp"] for channel in DOCUMENT["channels"].values()]
    exchanges = {binding["exchange"]["name"]: binding["exchange"] for binding in bindings if "exchange" in binding}
    queues = {each["name"]: each for binding in bindings for key in ("queue", "x-queue") if (each := binding.get(key))}

    declared = {exchange.name: exchange.kind for exchange in topology.exchanges}
    assert {name: exchange["type"] for name, exchange in exchanges.items() if name} == {
        name: kind for name, kind in declared.items() if name != topology.dead
    }
    assert {name: queue["x-arguments"] for name, queue in queues.items()} == {
        queue.name: dict(queue.arguments) for queue in topology.queues
    }
    assert {f"command.{name}" for name in COMMANDS} <= MESSAGES.keys()
    assert {f"event.{name}" for name in events.EVENTS} <= MESSAGES.keys()
    assert {f"directory.{name}" for name in directory.BODIES} <= MESSAGES.keys()


def test_a_request_has_the_parameters_of_http_and_its_own() -> None:
    payload = MESSAGES["request.conversation.create"]["payload"]

    for key in ("as_user_id", "idempotency_key", "recipients", "body"):
        assert faults(payload, {name: value for name, value in examples.REQUEST.items() if name != key})
    assert faults(payload, {**examples.REQUEST, "recipients": 7})


def test_a_request_is_answered_where_it_says() -> None:
    reply = DOCUMENT["operations"]["create_conversation"]["reply"]

    assert reply["address"]["location"] == "$message.header#/reply_to"
    for key in ("request.conversation.create", "answer.conversation.create"):
        assert MESSAGES[key]["correlationId"] == {"location": "$message.header#/correlation_id"}
        assert "correlation_id" in MESSAGES[key]["headers"]["properties"]


def test_names_have_the_prefix_and_nothing_of_the_broker_is_published() -> None:
    server = DOCUMENT["servers"]["broker"]

    assert (server["host"], server["protocol"]) == ("{broker}", "amqp")
    assert document_of("clarion", "amqps")["servers"]["broker"]["protocol"] == "amqps"
    assert DOCUMENT["channels"]["directory"]["bindings"]["amqp"]["exchange"]["name"] == "school.example.directory"


def test_every_message_says_what_it_is() -> None:
    silent = [key for key, message in MESSAGES.items() if not message["summary"].endswith(".")]

    assert silent == []
