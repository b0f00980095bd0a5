"""How a command can end, and which error means which end: the one place that decides."""

from dataclasses import dataclass
from typing import TypeAlias

from service.runtime.broker import BrokerUnavailable
from service.runtime.postgres import CONFLICT, is_unavailable


@dataclass(frozen=True, slots=True)
class Done:
    """Handled, or nothing left to handle: acknowledge."""


@dataclass(frozen=True, slots=True)
class Again:
    """Something outside is away: hand it out again."""

    reason: str


@dataclass(frozen=True, slots=True)
class Discard:
    """It will never succeed: to the dead letters with the reason."""

    reason: str


Verdict: TypeAlias = Done | Again | Discard


def judge(error: Exception) -> Verdict:
    """The end of a command whose handler raised."""
    if is_unavailable(error) or isinstance(error, (*CONFLICT, BrokerUnavailable)):
        return Again(f"{type(error).__name__}: {error}")
    return Discard(f"{type(error).__name__}: {error}")
