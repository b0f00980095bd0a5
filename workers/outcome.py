"""How the handling of a message can end, and which error means which end: the one place that decides."""

from dataclasses import dataclass
from typing import TypeAlias

from service.runtime.broker import BrokerUnavailable
from service.runtime.postgres import CONFLICT, is_unavailable


@dataclass(frozen=True, slots=True)
class Done:
    """Handled, or nothing left to handle: acknowledge."""


@dataclass(frozen=True, slots=True)
class Requeue:
    """Something outside is away: back to the queue, which delivers it again."""

    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """It will never succeed: to the dead letters with the reason."""

    reason: str


Outcome: TypeAlias = Done | Requeue | DeadLetter


def outcome_of(error: Exception) -> Outcome:
    """The end of a message whose handler raised."""
    if is_unavailable(error) or isinstance(error, (*CONFLICT, BrokerUnavailable)):
        return Requeue(f"{type(error).__name__}: {error}")
    return DeadLetter(f"{type(error).__name__}: {error}")
