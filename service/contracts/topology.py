"""Exchanges, queues and bindings of one installation, as values (CONTRACT 4).

Everything is durable and valid from RabbitMQ 3.10 to 4.x. A queue can never change its arguments: another value here
is, to every installation that is already there, a queue of different arguments.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# A message that was delivered this often and never settled (it killed its worker each time) goes to the dead letters.
DELIVERY_LIMIT = 50

# Directory events are delivered by the hundred, and held while the database is away: the broker takes them back
# every half hour (its consumer_timeout) and whenever the worker ends, and good ones would be dead letters within a day.
DIRECTORY_DELIVERY_LIMIT = 1000

# The queue of dead letters has no dead letters of its own. Without a limit, RabbitMQ 4 drops what was delivered and
# requeued 20 times. Only there does -1 mean "never": 3.10 then drops at the first requeue.
NEVER = 2**31 - 1

# One queue of its own each on the exchange of commands.
COMMANDS = ("plan", "deliver", "reply", "update")

CREATE_CONVERSATION = "conversation.create"  # the one kind of request; its routing key

ExchangeKind = Literal["direct", "topic", "fanout"]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    kind: ExchangeKind


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue; ``arguments`` as they are declared, types included."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Binding:
    """Messages of ``exchange`` with a routing key that fits ``key`` go to ``queue``."""

    queue: str
    exchange: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class Topology:
    """Everything an installation has on its broker; the names start with its prefix."""

    prefix: str

    @property
    def commands(self) -> str:
        """Direct exchange; routing key = command name."""
        return f"{self.prefix}.commands"

    @property
    def events(self) -> str:
        """Topic exchange of what happened; routing key = event name. Consumers bind queues of their own."""
        return f"{self.prefix}.events"

    @property
    def event_sets(self) -> str:
        """Topic exchange of the same events by the hundred; routing key = event name."""
        return f"{self.prefix}.event_sets"

    @property
    def directory(self) -> str:
        """Topic exchange of directory events, and the one queue that takes all of them."""
        return f"{self.prefix}.directory"

    @property
    def requests(self) -> str:
        """Direct exchange and queue of requests of other systems; routing key = kind of request."""
        return f"{self.prefix}.requests"

    @property
    def dead(self) -> str:
        """Fanout exchange and queue of what could not be handled."""
        return f"{self.prefix}.dead"

    def owns(self, name: str) -> bool:
        """Whether an exchange or queue of that name is, or may become, one of the installation's."""
        return name == self.prefix or name.startswith(f"{self.prefix}.")

    def command_queue(self, name: str) -> str:
        """The queue of one kind of command."""
        return f"{self.prefix}.commands.{name}"

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """The dead letters' first: queues name it as theirs."""
        return (
            Exchange(self.dead, "fanout"),
            Exchange(self.commands, "direct"),
            Exchange(self.events, "topic"),
            Exchange(self.event_sets, "topic"),
            Exchange(self.directory, "topic"),
            Exchange(self.requests, "direct"),
        )

    @property
    def parts(self) -> tuple[Exchange | Queue, ...]:
        """Exchanges and queues, in an order in which they can be declared."""
        return (*self.exchanges, *self.queues)

    @property
    def queues(self) -> tuple[Queue, ...]:
        """Quorum queues, all of them."""
        limits = dict.fromkeys(map(self.command_queue, COMMANDS), DELIVERY_LIMIT)
        limits |= {self.directory: DIRECTORY_DELIVERY_LIMIT, self.requests: DELIVERY_LIMIT}
        return (
            Queue(self.dead, {"x-queue-type": "quorum", "x-delivery-limit": NEVER}),
            *(Queue(name, self._handled_arguments(limit)) for name, limit in limits.items()),
        )

    def _handled_arguments(self, delivery_limit: int) -> dict[str, Any]:
        """A message leaves such a queue by an acknowledgement or, confirmed, to the dead letters.

        At-least-once dead-lettering is to be had only together with reject-publish.
        """
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": delivery_limit,
            "x-dead-letter-exchange": self.dead,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }

    @property
    def bindings(self) -> tuple[Binding, ...]:
        """Which queue takes what."""
        return (
            Binding(self.dead, self.dead),
            *(Binding(self.command_queue(name), self.commands, name) for name in COMMANDS),
            Binding(self.directory, self.directory, "#"),
            Binding(self.requests, self.requests, CREATE_CONVERSATION),
        )
