"""How the handling of a message can end, and which error means which end: the one place that decides."""

from dataclasses import dataclass
from typing import TypeAlias

from service.contracts.wording import named
from service.runtime.broker import BrokerUnavailable
from service.runtime.postgres import CONFLICT, INSTALLATION, is_unavailable


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


def is_outside(error: BaseException) -> bool:
    """Whether it says nothing about what was asked: the database, the broker or the installation has to be mended.

    What was asked is held meanwhile, however long that takes, and none of its attempts is used up.
    """
    return is_unavailable(error) or isinstance(error, (*INSTALLATION, BrokerUnavailable))


def outcome_of(error: Exception) -> Outcome:
    """The outcome of a message whose handler raised ``error``."""
    if is_outside(error) or isinstance(error, CONFLICT):
        return Requeue(named(error))
    return DeadLetter(named(error))
