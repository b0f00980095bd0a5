"""Exchanges and queues (CONTRACT 4). Everything is durable; queues are quorum queues with a dead-letter exchange."""

from dataclasses import dataclass
from typing import Any

# A command that was handed out this often without a verdict (its worker died each time) goes to the dead letters.
DELIVERY_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Topology:
    """Names of one installation."""

    prefix: str

    @property
    def commands(self) -> str:
        """Direct exchange; routing key = command name."""
        return f"{self.prefix}.commands"

    @property
    def dead(self) -> str:
        """Fanout exchange and queue of what could not be handled."""
        return f"{self.prefix}.dead"

    def command_queue(self, name: str) -> str:
        """The queue of one kind of command."""
        return f"{self.prefix}.commands.{name}"

    def command_queue_arguments(self) -> dict[str, Any]:
        """Arguments of every command queue; a queue can never change them."""
        return {
            "x-queue-type": "quorum",
            "x-delivery-limit": DELIVERY_LIMIT,
            "x-dead-letter-exchange": self.dead,
            "x-dead-letter-strategy": "at-least-once",
            "x-overflow": "reject-publish",
        }
