"""Turns: when the chunks of a batch are commanded, a few at a time and no faster than its sender and account may."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

from sql.connection import Connection
from sql.statements import Many, One


@dataclass(frozen=True, slots=True)
class Limits:
    """How many chunks of a batch may be commanded at a time; recipients a minute of a sender and an account, 0: any.

    ``ahead``: where there is a pace, so long before it a turn may be given. ``root_account_id``: the account of what
    was sent in no context.
    """

    in_flight: int
    sender_pace: int
    account_pace: int
    root_account_id: int
    ahead: timedelta

    @property
    def paced(self) -> bool:
        """Whether turns may lie ahead."""
        return self.sender_pace > 0 or self.account_pace > 0


class Turn(NamedTuple):
    """A chunk that is commanded; ``wait``: seconds until it is to be, not more than 0 for now."""

    position: int
    wait: float


class RunningBatch(NamedTuple):
    """A batch under way, the trace of the request that sent it, and whether more of its chunks could be commanded."""

    batch_id: int
    traceparent: str | None
    has_room: bool


class NextRow(NamedTuple):
    """When the next chunk falls due."""

    seconds: float


_TAKE = Many("take_turns", Turn)
_RUNNING = Many("running_batches", RunningBatch)
_NEXT = One("next_turn", NextRow)


async def take_turns(conn: Connection, batch_id: int, limits: Limits, *, patience: timedelta) -> Sequence[Turn]:
    """The next chunks of a running batch, up to as many as may be commanded; the sweeper leaves them for ``patience``.

    In a transaction of its own: it waits for others who do the same for the batch, its sender or its account.
    """
    return await _TAKE(
        conn,
        batch_id=batch_id,
        in_flight=limits.in_flight,
        patience=patience,
        ahead=limits.ahead,
        sender_pace=limits.sender_pace,
        account_pace=limits.account_pace,
        root_account_id=limits.root_account_id,
    )


async def running_batches(conn: Connection, limits: Limits, *, behind: int, limit: int) -> Sequence[RunningBatch]:
    """A page of the batches under way, those with ids above ``behind``.

    Where there is a pace, only one of which nothing is commanded has room.
    """
    return await _RUNNING(conn, fewest=1 if limits.paced else limits.in_flight, behind=behind, limit=limit)


async def next_turn(conn: Connection) -> float | None:
    """Seconds until the next pending chunk falls due; None when none will."""
    found = await _NEXT(conn)
    return None if found is None else found.seconds
