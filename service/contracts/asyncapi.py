"""The AsyncAPI 3.0 document: what goes over the broker, from the contracts that are read and written (CONTRACT 4, 5).

Operations are from Clarion's point of view: what it sends, other systems receive.
"""

from collections.abc import Mapping
from typing import Any

from service.contracts import asyncapi_messages as messages
from service.contracts.asyncapi_messages import Message
from service.contracts.topology import CREATE_CONVERSATION, Exchange, Topology

_BINDING = {"bindingVersion": "0.3.0"}
_PERSISTENT = 2

_ABOUT = """\
What Clarion publishes to RabbitMQ and what it consumes. The HTTP side is described by `/openapi.json`.

Everything is published persistently, mandatory and with publisher confirms, and comes **at least once**: commands and
events that come again, after a crash on either side, have the **same `message_id`**, so keep the ids of what you have
handled, or make handling twice harmless. Events of one conversation come **in order**; between conversations there is
none. An event is published if and only if its change was committed.

Readers ignore keys and headers that they do not know: those may be added at any time. A changed meaning gets a new
version number, which is read one release before it is written and for one release after. A message of any other
version goes to the dead letters.
"""

_COMMANDS = """\
Internal: work for the workers, published by the gateway and by workers. A command names a row and carries nothing of
it, so it may come twice or late without harm. Publish none yourself: the database does not know of what you
command.
"""
_EVENTS = """\
Bind a queue of your own to the exchange, by names of events or `#` for all. The form is that of Canvas Live Events:
ids are strings, local in the body and global (shard * 10^13 + local) in the metadata. What no queue wants is
counted and gone.
"""
_EVENT_SETS = """\
The same events for those who take them in bulk: an array of them, of one name, in order. What an event says and what
it is known by stands in its metadata, `message_id` included; when it comes again, it may be in another set.
"""
_DIRECTORY = """\
The institution publishes its users, courses and enrolments; Clarion owns none. Late, doubled and disordered events
end in the same directory as ordered ones, since the newest `updated_at` wins for each key; a member may come before
its user or course. An absent key changes nothing, an explicit null clears. Other event names are ignored; what
cannot be read goes to the dead letters and holds up nothing.
"""
_REQUESTS = """\
Messages sent without HTTP, by the rules and rights of `POST /api/v1/conversations`: its JSON (arrays without `[]`)
plus `as_user_id` and a required `idempotency_key`. What comes again under the user's key within 24 hours is
answered as before and not sent again, also over HTTP with the header `Idempotency-Key`. A system that may publish here
may send as any user, so give that right to few.
"""
_ANSWERS = """\
Answers to requests, through the default exchange to the queue that `reply_to` names, with the `correlation_id` of
the request. HTTP's headers are headers of the message. Should the queue be gone, the answer is lost, and asking
again under the same key gives it.
"""
_DEAD = """\
What could not be handled, as it came, with the reason in a header. It stays until an operator removes it: `clarion
dead` lists the dead letters, requeues them, or drops them.
"""


def document(
    topology: Topology, *, release: str, parameters: Mapping[str, Any], protocol: str = "amqp"
) -> dict[str, Any]:
    """The AsyncAPI object of the installation with these names; ``release`` is the version of the software.

    ``parameters``: the JSON schema of those of POST /conversations, which requests have as well. Names no host: the
    document is public, the broker is not.
    """
    written = _Document(topology)
    return {
        "asyncapi": "3.0.0",
        "info": {"title": "Clarion over AMQP", "version": release, "description": _ABOUT},
        "defaultContentType": "application/json",
        "servers": {"broker": _server(protocol)},
        "channels": written.channels,
        "operations": written.operations,
        "components": {
            "schemas": messages.schemas(parameters),
            "messages": {message.key: message.content() for message in written.messages},
            "securitySchemes": {"user": {"type": "userPassword", "description": "A user of the broker."}},
        },
    }


def _server(protocol: str) -> dict[str, Any]:
    return {
        "host": "{broker}",
        "pathname": "/{virtualHost}",
        "protocol": protocol,
        "protocolVersion": "0.9.1",
        "description": "The institution's RabbitMQ, 3.10 or newer.",
        "variables": {
            "broker": {"description": "Host and port; ask its operator."},
            "virtualHost": {"description": "Empty for the default one.", "default": ""},
        },
        "security": [{"$ref": "#/components/securitySchemes/user"}],
    }


class _Document:
    """Channels and operations, and the messages they name."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._exchanges = {exchange.name: exchange for exchange in topology.exchanges}
        self._queues = {queue.name: queue for queue in topology.queues}
        self.channels: dict[str, Any] = {}
        self.operations: dict[str, Any] = {}
        self.messages: list[Message] = []
        self._commands()
        self._events()
        self._directory()
        self._requests()
        self._dead()

    def _commands(self) -> None:
        for message in messages.COMMANDS:
            channel, queue = f"command_{message.name}", self._topology.command_queue(message.name)
            binding = self._routed(self._topology.commands, queue)
            self._channel(channel, message.name, [message], binding, _COMMANDS)
            self._operation(f"send_{channel}", "send", channel, message.text)
            self._operation(f"receive_{channel}", "receive", channel, f"Carry out what `{queue}` holds.")

    def _events(self) -> None:
        binding = self._routed(self._topology.events)
        for message in messages.EVENTS:
            self._channel(message.name, message.name, [message], binding, _EVENTS)
            self._operation(f"send_{message.name}", "send", message.name, message.text)
        binding = self._routed(self._topology.event_sets)
        for message in messages.EVENT_SETS:
            channel = f"{message.name}_set"
            self._channel(channel, message.name, [message], binding, _EVENT_SETS)
            self._operation(f"send_{channel}", "send", channel, message.text)

    def _directory(self) -> None:
        names = [message.name for message in messages.DIRECTORY]
        binding = self._routed(self._topology.directory, self._topology.directory)
        self._channel("directory", "{event_name}", messages.DIRECTORY, binding, _DIRECTORY)
        self.channels["directory"]["parameters"] = {
            "event_name": {
                "description": "As in the metadata, which counts.",
                "enum": names,
                "location": "$message.payload#/metadata/event_name",
            }
        }
        self._operation("follow_directory", "receive", "directory", "Follow the institution, in sets.")

    def _requests(self) -> None:
        name = self._topology.requests
        self._channel("requests", CREATE_CONVERSATION, [messages.REQUEST], self._routed(name, name), _REQUESTS)
        default = {"name": "", "type": "default", "durable": True, "autoDelete": False}
        binding = {"is": "routingKey", "exchange": default, **_BINDING}
        self._channel("answers", None, [messages.ANSWER], binding, _ANSWERS)
        reply = {
            "address": {"location": "$message.header#/reply_to", "description": "A queue of the requester."},
            "channel": {"$ref": "#/channels/answers"},
            "messages": [{"$ref": f"#/channels/answers/messages/{CREATE_CONVERSATION}"}],
        }
        self._operation("create_conversation", "receive", "requests", messages.REQUEST.text, reply=reply)
        self._operation("answer", "send", "answers", "Answer a request that names a queue for it.")

    def _dead(self) -> None:
        name = self._topology.dead
        binding = {"is": "queue", "queue": self._queue(name), **_BINDING}
        self._channel("dead_letters", name, [messages.DEAD_LETTER], binding, _DEAD)
        self._operation("bury", "send", "dead_letters", "Publish what could not be handled.")

    def _routed(self, exchange: str, queue: str | None = None) -> dict[str, Any]:
        """``x-queue``: Clarion's own queue behind the exchange; the binding itself has room for one of the two."""
        binding = {"is": "routingKey", "exchange": _exchange(self._exchanges[exchange]), **_BINDING}
        return binding if queue is None else binding | {"x-queue": self._queue(queue)}

    def _queue(self, name: str) -> dict[str, Any]:
        arguments = dict(self._queues[name].arguments)
        return {"name": name, "durable": True, "exclusive": False, "autoDelete": False, "x-arguments": arguments}

    def _channel(
        self, key: str, address: str | None, carried: list[Message], binding: dict[str, Any], text: str
    ) -> None:
        self.channels[key] = {
            "address": address,
            "description": text,
            "messages": {message.name: {"$ref": f"#/components/messages/{message.key}"} for message in carried},
            "bindings": {"amqp": binding},
        }
        self.messages += carried

    def _operation(self, key: str, action: str, channel: str, text: str, **more: Any) -> None:
        said = {"ack": True} if action == "receive" else {"deliveryMode": _PERSISTENT, "mandatory": True}
        self.operations[key] = {
            "action": action,
            "channel": {"$ref": f"#/channels/{channel}"},
            "summary": text,
            "messages": [
                {"$ref": f"#/channels/{channel}/messages/{name}"} for name in self.channels[channel]["messages"]
            ],
            "bindings": {"amqp": said | _BINDING},
            **more,
        }


def _exchange(exchange: Exchange) -> dict[str, Any]:
    return {"name": exchange.name, "type": exchange.kind, "durable": True, "autoDelete": False}
