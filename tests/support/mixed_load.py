"""Constant load from outside, of many kinds at once, and what must be in the database of it afterwards."""

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp

from sql.connection import Connection
from tests.support.fault_environment import FaultEnvironment
from tests.support.processes import Client
from tests.support.waiting import LOOK_AGAIN, PATIENCE

_COPIES = """
SELECT s.body, count(m.id) AS copies
FROM sends s LEFT JOIN conversation_messages m ON m.send_id = s.id
WHERE NOT EXISTS (SELECT FROM batches b WHERE b.send_id = s.id)
GROUP BY s.id, s.body
"""
_BETWEEN = 0.05  # seconds between two requests of a kind: people, not a benchmark
_KINDS = ("lists", "counts", "messages", "replies")


@dataclass
class MixedLoad:
    """A teacher's lists and replies, a student's counts and messages: each kind of request over and over, by itself.

    ``patient``: what fails is repeated under its idempotency key until it is accepted, as a careful client does it.
    ``failures``: how often each kind of failure was met.
    """

    teacher: Client
    student: Client
    teacher_id: int
    patient: bool = False
    failures: Counter[str] = field(default_factory=Counter)
    _written: list[str] = field(default_factory=list)
    _answered: Counter[str] = field(default_factory=Counter)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    _ending: bool = False

    async def more(self, each: int) -> None:
        """Returns when so many more requests of each kind have had their answer."""
        wanted = {kind: self._answered[kind] + each for kind in _KINDS}
        async with asyncio.timeout(PATIENCE), self._changed:
            await self._changed.wait_for(lambda: all(self._answered[kind] >= n for kind, n in wanted.items()))

    async def assert_once(self, conn: Connection) -> None:
        """Each message that was accepted is there once, and no other one."""
        found = [(row["body"], row["copies"]) for row in await conn.fetch(_COPIES)]
        assert sorted(found) == sorted((body, 1) for body in self._written)

    async def send(self, body: Mapping[str, Any]) -> int:
        """Posts an asynchronous send; the id of the batch."""
        _, headers = await self._post(self.teacher, "/conversations", body, wanted=202)
        return int(headers["X-Conversation-Batch-Id"])

    async def run(self) -> None:
        """Until the load ends."""
        (thread,) = await self._message("first")

        async def reply(number: int) -> None:
            text = f"reply {number}"
            await self._post(self.teacher, f"/conversations/{thread['id']}/add_message", {"body": text}, wanted=200)
            self._written.append(text)

        steps: tuple[Callable[[int], Awaitable[object]], ...] = (
            lambda _: self._call(self.teacher, "GET", "/conversations?per_page=10", wanted=200),
            lambda _: self._call(self.student, "GET", "/conversations/unread_count", wanted=200),
            lambda number: self._message(f"message {number}"),
            reply,
        )
        async with asyncio.TaskGroup() as running:
            for kind, step in zip(_KINDS, steps, strict=True):
                running.create_task(self._repeat(kind, step))

    def end(self) -> None:
        """Each kind of request ends with the answer that it waits for."""
        self._ending = True

    async def _repeat(self, kind: str, step: Callable[[int], Awaitable[object]]) -> None:
        for number in count():
            if self._ending:
                return
            await step(number)
            async with self._changed:
                self._answered[kind] += 1
                self._changed.notify_all()
            await asyncio.sleep(_BETWEEN)

    async def _message(self, text: str) -> Any:
        body = {"recipients": [str(self.teacher_id)], "body": text}
        made, _ = await self._post(self.student, "/conversations", body, wanted=201)
        self._written.append(text)
        return made

    async def _post(self, who: Client, path: str, body: Mapping[str, Any], *, wanted: int) -> tuple[Any, Any]:
        key = {"Idempotency-Key": uuid.uuid4().hex} if self.patient else {}
        return await self._call(who, "POST", path, wanted=wanted, headers=key, json=body)

    async def _call(self, who: Client, method: str, path: str, *, wanted: int, **parameters: Any) -> tuple[Any, Any]:
        """(body, headers) of the answer that is wanted; AssertionError at any other, unless the load is patient."""
        while True:
            try:
                status, body, headers = await who.call(method, path, **parameters)
            except (aiohttp.ClientError, TimeoutError) as error:
                failure = repr(error)
            else:
                if status == wanted:
                    return body, headers
                failure = f"{status} {body}"
            self.failures[failure] += 1
            assert self.patient, f"{method} {path}: {failure}"
            await asyncio.sleep(LOOK_AGAIN)


@asynccontextmanager
async def mixed_load(there: FaultEnvironment, url: str, *, patient: bool = False) -> AsyncIterator[MixedLoad]:
    """Under way at that address while the block runs."""
    student = await there.client(there.school.students[0])
    load = MixedLoad(there.teacher.at(url), student.at(url), there.school.teacher, patient)
    async with asyncio.TaskGroup() as running:
        running.create_task(load.run())
        try:
            yield load
        finally:
            load.end()
