"""Sends that overtake each other: a thread has the subject of its first message, and all in order of acceptance."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.application.inbox.participant import apply_event
from service.application.messages.chunk import ChunkOutcome, deliver_at_once
from service.application.messages.tag_sets import TagSets
from service.application.presentation.conversations import present
from service.application.presentation.profiles import SHOWN
from service.application.presentation.viewpoint import Viewpoint
from service.domain.participant import Event
from sql import batches
from sql.connection import Connection
from sql.sends import insert_send
from tests.support.chance import as_often
from tests.support.institution import Institution
from tests.support.sends import send_of
from tests.support.waiting import until

TEACHER, STUDENTS = 15, (11, 12, 18)  # with lower ids than the teacher's and with a higher one


@dataclass(frozen=True)
class Send:
    """A private send to some of the students, or one student's answer; ``at_once``: delivered when it is accepted."""

    author: int
    recipients: Sequence[int]
    at_once: bool


SENDS = st.one_of(
    st.builds(Send, st.just(TEACHER), st.sets(st.sampled_from(STUDENTS), min_size=1).map(sorted), st.booleans()),
    st.builds(Send, st.sampled_from(STUDENTS), st.just([TEACHER]), st.booleans()),
)


@dataclass
class Sends:
    """Accepts and delivers; of each send number, subject and body are its place in the order of acceptance."""

    conn: Connection
    accepted: list[Send] = field(default_factory=list)
    waiting: list[tuple[int, int]] = field(default_factory=list)  # batch and position of each chunk

    async def accept(self, send: Send) -> None:
        said = send_of(send.author, subject=f"Subject {len(self.accepted)}", body=str(len(self.accepted)))
        self.accepted.append(send)
        stored = await insert_send(self.conn, said)
        batch_id, chunks, _ = await batches.insert_batch(
            self.conn,
            batches.NewBatch(
                send_id=stored.id,
                sender_id=send.author,
                tags=[],
                user_note=False,
                recipients=send.recipients,
                chunk_size=2,
                created_at=stored.created_at,
            ),
        )
        positions = [(batch_id, position) for position in range(chunks)]
        if not send.at_once:
            self.waiting.extend(positions)
        for batch, position in positions if send.at_once else ():
            await self.deliver(batch, position)

    async def deliver(self, batch_id: int, position: int) -> None:
        async with self.conn.transaction():
            outcome = await deliver_at_once(self.conn, TagSets(), batch_id, position, cause=None)
        assert isinstance(outcome, ChunkOutcome)

    async def delete_as(self, user: int) -> None:
        """The user deletes all threads so far."""
        rows = await self.conn.fetch("SELECT conversation_id FROM participants WHERE user_id = $1", user)
        await apply_event(self.conn, user, [row["conversation_id"] for row in rows], Event.DESTROY)

    async def shown_to(self, user: int) -> dict[int, tuple[str | None, list[str], str | None]]:
        """By the other person: the subject, the bodies oldest first, and the newest one's preview."""
        rows = await self.conn.fetch("SELECT conversation_id FROM participants WHERE user_id = $1", user)
        view = Viewpoint(user_id=user, base_url="https://clarion.test", root_account_id=1)
        found = await present(self.conn, view, [row["conversation_id"] for row in rows], SHOWN, uuids=False, beta=False)
        return {
            c["audience"][0]: (c["subject"], [m["body"] for m in reversed(c["messages"])], c["last_message"])
            for c in found
        }

    def expected(self, student: int, viewer: int) -> tuple[str, list[str], str | None]:
        """What a thread between the teacher and this student has to look like; a preview has who received something."""
        sends = [(n, send) for n, send in enumerate(self.accepted) if student in (send.author, *send.recipients)]
        bodies = [str(n) for n, _ in sends]
        received = any(viewer in send.recipients for _, send in sends)
        return f"Subject {bodies[0]}", bodies, bodies[-1] if received else None


@given(
    steps=st.lists(st.one_of(SENDS, SENDS, st.integers(0, 7)), min_size=2, max_size=14),
    chance=st.randoms(use_true_random=False),
)
@settings(max_examples=as_often(50), suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_threads_are_in_the_order_of_acceptance_whatever_the_order_of_writing(
    conn: asyncpg.Connection, steps: list[Send | int], chance: random.Random
) -> None:
    """Bulk sends in chunks, sends that are written at once, and answers: accepted between the deliveries of others."""
    transaction = conn.transaction()
    await transaction.start()
    try:
        sends = Sends(conn)
        for step in steps:
            if isinstance(step, Send):
                await sends.accept(step)
            elif sends.waiting:
                await sends.deliver(*sends.waiting.pop(step % len(sends.waiting)))
        chance.shuffle(sends.waiting)
        for chunk in sends.waiting:
            await sends.deliver(*chunk)
        seen = await sends.shown_to(TEACHER)
        assert seen == {
            student: sends.expected(student, TEACHER)
            for student in STUDENTS
            if any(student in (send.author, *send.recipients) for send in sends.accepted)
        }
        for student in seen:
            assert await sends.shown_to(student) == {TEACHER: sends.expected(student, student)}
    finally:
        await transaction.rollback()


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("who", ["teacher", "student"])
async def test_a_thread_that_was_deleted_meanwhile_has_its_subject_all_the_same(
    conn: asyncpg.Connection, student: int, who: str
) -> None:
    """Who deletes a thread has none of its times any more."""
    sends = Sends(conn)
    await sends.accept(Send(TEACHER, [student], at_once=False))
    await sends.accept(Send(student, [TEACHER], at_once=True))
    await sends.delete_as(TEACHER if who == "teacher" else student)
    await sends.deliver(*sends.waiting[0])
    for user, other in ((TEACHER, student), (student, TEACHER)):
        subject, bodies, _ = (await sends.shown_to(user))[other]
        assert subject == "Subject 0"
        assert bodies[0] == "0"


async def test_of_two_sends_of_one_moment_the_first_is_the_one_with_the_lower_id(conn: asyncpg.Connection) -> None:
    sends = Sends(conn)
    for _ in range(3):
        await sends.accept(Send(TEACHER, STUDENTS, at_once=False))
    await conn.execute("UPDATE sends SET created_at = date_trunc('hour', created_at)")
    await conn.execute("UPDATE chunks SET first_id = 1000000000 - first_id")  # ids of messages do not count
    for chunk in sorted(sends.waiting, reverse=True):
        await sends.deliver(*chunk)
    for student in STUDENTS:
        assert await sends.shown_to(student) == {TEACHER: sends.expected(student, student)}


async def test_two_early_sends_that_meet_in_a_late_thread_leave_it_the_first_subject(
    pool: asyncpg.Pool, institution: Institution
) -> None:
    """The second of them waits for the first, and has looked at the thread before."""
    async with pool.acquire() as observer, pool.acquire() as one, pool.acquire() as other:
        sends = Sends(observer)
        for _ in range(2):
            await sends.accept(Send(TEACHER, [STUDENTS[0]], at_once=False))
        await sends.accept(Send(TEACHER, [STUDENTS[0]], at_once=True))
        async with one.transaction():
            await deliver_at_once(one, TagSets(), *sends.waiting[0], cause=None)
            second = asyncio.create_task(_deliver(other, sends.waiting[1]))
            await until(lambda: _waits(observer, other))
        assert isinstance(await second, ChunkOutcome)
        assert await sends.shown_to(STUDENTS[0]) == {TEACHER: sends.expected(STUDENTS[0], STUDENTS[0])}


async def _deliver(conn: Connection, chunk: tuple[int, int]) -> object:
    async with conn.transaction():
        return await deliver_at_once(conn, TagSets(), *chunk, cause=None)


async def _waits(observer: Connection, conn: Connection) -> bool:
    return bool(await observer.fetchval("SELECT cardinality(pg_blocking_pids($1)) > 0", conn.get_server_pid()))
