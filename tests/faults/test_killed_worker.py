"""A worker killed at any moment of a send: no recipient is left out and none has a second copy."""

import random

from tests.support.chance import as_often
from tests.support.fault_environment import FaultEnvironment, killed_while_delivering

ROUNDS = as_often(4)


async def test_workers_killed_at_random_moments_lose_and_double_nothing(
    there: FaultEnvironment, chance: random.Random
) -> None:
    await there.running.api()
    workers = [await there.running.worker(), await there.running.worker()]

    for number in range(ROUNDS):
        # Private threads are reused from the second such send on, so both ways of writing are cut short.
        await there.send(there.private() if number % 2 else there.bulk())
        victim = chance.randrange(len(workers))
        await killed_while_delivering(chance, workers[victim])
        workers[victim] = await there.running.worker()

    await there.assert_all_sent()
    async with there.look() as conn:
        assert await conn.fetchval("SELECT count(*) FROM batches") == ROUNDS
        assert await conn.fetchval("SELECT count(*) FROM chunks WHERE attempts > 0") == 0


async def test_no_worker_left_alive_is_only_a_delay(there: FaultEnvironment, chance: random.Random) -> None:
    """All workers die at once in the middle; those started later finish what is left."""
    await there.running.api()
    workers = [await there.running.worker(), await there.running.worker()]
    await there.send(there.bulk())

    await killed_while_delivering(chance, workers[0])
    await workers[1].stop()
    async with there.look() as conn:
        assert await conn.fetchval("SELECT state FROM batches") == "sending"

    await there.running.worker()
    await there.assert_all_sent()


async def test_a_batch_of_which_one_chunk_is_in_flight_goes_on_whenever_its_worker_dies(
    there: FaultEnvironment, chance: random.Random
) -> None:
    """Also between the commit of a chunk, which chooses the next one, and the command of that."""
    one = {"CLARION_BATCH_CHUNKS_IN_FLIGHT": "1", "CLARION_RETRY_AFTER": "1"}
    await there.running.api()
    worker = await there.running.worker(**one)

    for _ in range(ROUNDS):
        await there.send(there.bulk())
        await killed_while_delivering(chance, worker)
        worker = await there.running.worker(**one)

    await there.assert_all_sent()
