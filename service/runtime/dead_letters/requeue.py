"""Dead letters requeued where they came from, or dropped."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from aio_pika.abc import AbstractChannel, AbstractExchange

from service.contracts.topology import Topology
from service.domain.dead_letters import DeadLetter
from service.runtime.broker import Session, broker_errors
from service.runtime.confirms import Confirms
from service.runtime.dead_letters.message import requeued_message
from service.runtime.dead_letters.queue import Browser, Found, browse, connected
from service.runtime.settings import BrokerSettings

AT_ONCE = 500  # dead letters that are published before they are confirmed, and removed together


class Sender:
    """Publishes dead letters to the exchange that their queue is bound to, each confirmed."""

    def __init__(self, topology: Topology, session: Session, channel: AbstractChannel) -> None:
        self._topology = topology
        self._session = session
        self._channel = channel
        self._confirms = Confirms()
        self._routes: dict[str, tuple[AbstractExchange, str]] = {}

    def knows(self, letter: DeadLetter) -> bool:
        """Whether it came from a queue of this installation."""
        return self._binding(letter.source) is not None

    async def send(self, found: Found) -> None:
        """BrokerUnavailable when it was not confirmed, or no queue wanted it."""
        source = found.letter.source or ""
        exchange, key = self._routes[source]
        with broker_errors():
            await self._confirms.publish(
                exchange,
                requeued_message(found.letter, found.message),
                found.letter.routing_key if key == "#" else key,
            )

    async def open_routes(self, sources: set[str]) -> None:
        """Has to come before dead letters of these sources are sent; BrokerUnavailable when one is gone for good."""
        for source in sources - self._routes.keys():
            binding = self._binding(source)
            if binding is None:
                continue
            with broker_errors():
                await self._session.find_queue(self._topology, source)
                self._routes[source] = (
                    await self._channel.get_exchange(binding[0], ensure=False),
                    binding[1],
                )

    def _binding(self, source: str | None) -> tuple[str, str] | None:
        for binding in self._topology.bindings:
            if binding.queue == source != self._topology.dead:
                return binding.exchange, binding.key
        return None


@dataclass(frozen=True, slots=True)
class Left:
    """Dead letters that were left where they are for the same reason; ``example`` is the id of one."""

    count: int
    example: str


@dataclass
class Tally:
    """How many dead letters were requeued or dropped, also when it failed, and why some were left."""

    done: int = 0
    left: dict[str, Left] = field(default_factory=dict)

    def leave(self, found: Found, reason: str) -> None:
        """One that is left."""
        count = self.left[reason].count if reason in self.left else 0
        self.left[reason] = Left(count + 1, found.letter.id)


Choice = Callable[[DeadLetter], bool]
# Brings what messages of these bodies name back to work, and says why some have nothing to do, else None, in order.
Revive = Callable[[Sequence[bytes]], Awaitable[Sequence[str | None]]]


async def requeue(settings: BrokerSettings, chosen: Choice, tally: Tally, revive: Revive) -> None:
    """Publishes the chosen dead letters, then removes them: interrupted between, they are handled twice, never lost."""
    topology = Topology(settings.amqp_prefix)
    async with browse(settings) as browser, connected(settings) as session:
        with broker_errors():
            sender = Sender(topology, session, await session.channel())
        async for together in _sets(browser, chosen):
            known = []
            for found in together:
                if sender.knows(found.letter):
                    known.append(found)
                else:
                    tally.leave(found, "came from no queue of ours")
            await _send_back(browser, sender, await _with_work(known, revive, tally), tally)


async def _sets(browser: Browser, chosen: Choice) -> AsyncIterator[list[Found]]:
    """The chosen dead letters, AT_ONCE at most at a time."""
    together: list[Found] = []
    async for found in browser.letters():
        if chosen(found.letter):
            together.append(found)
            if len(together) == AT_ONCE:
                yield together
                together = []
    yield together


async def _with_work(together: Sequence[Found], revive: Revive, tally: Tally) -> list[Found]:
    """Those that something is left to do for."""
    reasons = await revive([found.delivered.body for found in together])
    working = []
    for found, reason in zip(together, reasons, strict=True):
        if reason is None:
            working.append(found)
        else:
            tally.leave(found, reason)
    return working


async def _send_back(browser: Browser, sender: Sender, together: Sequence[Found], tally: Tally) -> None:
    """Removes what the broker has confirmed; raises the first error of what it has not, which stays."""
    await sender.open_routes({found.letter.source for found in together if found.letter.source is not None})
    outcomes = await asyncio.gather(*map(sender.send, together), return_exceptions=True)
    confirmed = [found for found, outcome in zip(together, outcomes, strict=True) if outcome is None]
    await browser.remove(confirmed)
    tally.done += len(confirmed)
    for outcome in outcomes:
        if outcome is not None:
            raise outcome


async def drop(settings: BrokerSettings, chosen: Choice, tally: Tally) -> None:
    """Removes the chosen dead letters."""
    async with browse(settings) as browser:
        async for together in _sets(browser, chosen):
            await browser.remove(together)
            tally.done += len(together)
