"""Exchanges and queues: declared by users who have the right, looked for by the others (CONTRACT 4).

RabbitMQ answers a declaration that it refuses by closing the channel, so all of this happens on channels that nothing
else depends on; each costs the broker a little memory for good, so they are few and once per session.

What a user needs is only known to the broker, found by trying on 3.10: looking for something (a passive declaration)
needs no permission at all and says nothing of its arguments; declaring needs "configure" even if it is there already.
"""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Literal

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import (
    ChannelAccessRefused,
    ChannelClosed,
    ChannelLockedResource,
    ChannelNotFoundEntity,
    ChannelPreconditionFailed,
)

from service.contracts.topology import Binding, Exchange, Queue, Topology
from service.runtime.metrics import TOPOLOGY_FAULTS

log = structlog.get_logger(__name__)

_REFUSALS = (ChannelAccessRefused, ChannelLockedResource, ChannelNotFoundEntity, ChannelPreconditionFailed)

Act = Callable[[AbstractChannel], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Fault:
    """An exchange or a queue that is not as it should be.

    ``usable``: messages pass nevertheless. ``reason``: the broker's words. ``advice``: what an operator can do.
    """

    kind: Literal["exchange", "queue"]
    name: str
    problem: Literal["missing", "different"]
    usable: bool
    reason: str
    advice: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name} is {self.problem}: {self.reason}. {self.advice}"


async def declare(connection: AbstractConnection, topology: Topology) -> tuple[Fault, ...]:
    """Declares all exchanges, queues and bindings, or finds them there; repeating it changes nothing.

    Returns what is not as it should be, after logging it by name.
    """
    work = _Declaration(connection, topology)
    try:
        faults = [fault for part in topology.parts if (fault := await work.examine(part))]
        loose = await work.bind(topology.bindings, without={fault.name for fault in faults if not fault.usable})
    finally:
        await work.close()
    TOPOLOGY_FAULTS.clear()
    for fault in faults:
        TOPOLOGY_FAULTS.labels(fault.kind, fault.name, fault.problem).set(1)
        log.error(
            "topology_fault",
            kind=fault.kind,
            name=fault.name,
            problem=fault.problem,
            usable=fault.usable,
            reason=fault.reason,
            advice=fault.advice,
        )
    if work.denied is None:
        log.info("topology_declared", faults=len(faults))
    else:
        log.info("topology_checked", faults=len(faults), may_not_declare=work.denied, unchecked_bindings=loose)
    return tuple(faults)


async def is_there(connection: AbstractConnection, queue: str) -> bool:
    """Whether there is such a queue, whatever its arguments."""
    channel = await connection.channel(publisher_confirms=False)
    try:
        await channel.declare_queue(queue, passive=True)
    except ChannelNotFoundEntity:
        return False
    await channel.close()
    return True


class _Declaration:
    """One pass over the topology. ``denied``: the broker's words when it first refused a declaration for its user."""

    def __init__(self, connection: AbstractConnection, topology: Topology) -> None:
        self._connection = connection
        self._topology = topology
        self._channel: AbstractChannel | None = None
        self.denied: str | None = None

    async def close(self) -> None:
        if self._channel is not None and not self._channel.is_closed:
            await self._channel.close()

    async def examine(self, part: Exchange | Queue) -> Fault | None:
        """Declares the part or, without the right to, looks for it.

        Where one declaration was denied, the next will be too: looking first then costs no channel.
        """
        if self.denied is not None and await self._tried(_look(part)) is None:
            return None
        refusal = await self._tried(_declaration(part))
        if refusal is None:
            return None
        if not isinstance(refusal, ChannelAccessRefused):
            return self._different(part, str(refusal))
        known, self.denied = self.denied is not None, self.denied or str(refusal)
        if not known and await self._tried(_look(part)) is None:
            return None
        return self._missing(part, str(refusal))

    async def bind(self, bindings: Iterable[Binding], *, without: set[str]) -> list[str]:
        """Binds what is there; returns the queues whose bindings this user may neither make nor look up."""
        loose = []
        for binding in bindings:
            if binding.queue in without or binding.exchange in without:
                continue
            refusal = await self._tried(_bound(binding))
            if isinstance(refusal, ChannelAccessRefused):
                loose.append(binding.queue)
        return loose

    async def _tried(self, act: Act) -> ChannelClosed | None:
        """How the broker refused, which closed the channel; None when it did not. Lost connections are raised."""
        if self._channel is None:
            self._channel = await self._connection.channel(publisher_confirms=False)
        try:
            await act(self._channel)
        except _REFUSALS as refusal:
            self._channel = None
            return refusal
        return None

    def _missing(self, part: Exchange | Queue, reason: str) -> Fault:
        names = "^" + self._topology.prefix.replace(".", r"\.") + r"\."
        return Fault(
            kind=_kind(part),
            name=part.name,
            problem="missing",
            usable=False,
            reason=reason,
            advice="Start any Clarion process once as a user who may configure it, or allow this one to: "
            f"rabbitmqctl set_permissions -p '{_virtual_host(reason)}' USER '{names}' "
            f"'{names}|^amq\\.default$' '{names}'",
        )

    def _different(self, part: Exchange | Queue, reason: str) -> Fault:
        return Fault(
            kind=_kind(part),
            name=part.name,
            problem="different",
            usable=isinstance(part, Queue) and "inequivalent arg 'x-" in reason,
            reason=reason,
            advice=_replacing(part, reason),
        )


def _replacing(part: Exchange | Queue, reason: str) -> str:
    """Arguments never change: only another queue of the same name has others."""
    if isinstance(part, Exchange):
        return (
            f"Delete it (rabbitmqadmin delete exchange name={part.name}, or the management pages): it is then "
            "declared as it should be; other services bind their queues to it again"
        )
    return (
        "Let it run empty, or move its messages with a shovel, then "
        f"rabbitmqctl -p '{_virtual_host(reason)}' delete_queue '{part.name}': it is then declared as it should be. "
        "Commands may be deleted with their queue: they are published again"
    )


def _virtual_host(reason: str) -> str:
    found = re.search(r"in vhost '(.*?)'", reason)
    return found[1] if found else "/"


def _kind(part: Exchange | Queue) -> Literal["exchange", "queue"]:
    return "exchange" if isinstance(part, Exchange) else "queue"


def _declaration(part: Exchange | Queue) -> Act:
    async def act(channel: AbstractChannel) -> None:
        if isinstance(part, Exchange):
            await channel.declare_exchange(part.name, aio_pika.ExchangeType(part.kind), durable=True)
        else:
            await channel.declare_queue(part.name, durable=True, arguments=dict(part.arguments))

    return act


def _look(part: Exchange | Queue) -> Act:
    async def act(channel: AbstractChannel) -> None:
        if isinstance(part, Exchange):
            await channel.declare_exchange(part.name, passive=True)
        else:
            await channel.declare_queue(part.name, passive=True)

    return act


def _bound(binding: Binding) -> Act:
    async def act(channel: AbstractChannel) -> None:
        queue = await channel.get_queue(binding.queue, ensure=False)
        await queue.bind(binding.exchange, binding.key)

    return act
