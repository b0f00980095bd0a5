"""Pauses between attempts while something is away."""

import asyncio
from itertools import islice, pairwise

from tests.support.waiting import PATIENCE
from workers.backoff import FIRST_RETRY, LAST_RETRY, one_of, pauses


def test_each_pause_is_twice_the_one_before_up_to_a_limit() -> None:
    found = list(islice(pauses(), 12))

    assert found[0] == FIRST_RETRY
    assert all(later == min(2 * earlier, LAST_RETRY) for earlier, later in pairwise(found))
    assert found[-1] == LAST_RETRY


async def test_the_first_of_several_events_ends_a_pause_and_no_other_wait_is_left() -> None:
    stopping, broken = asyncio.Event(), asyncio.Event()
    before = asyncio.all_tasks()
    asyncio.get_running_loop().call_soon(broken.set)

    async with asyncio.timeout(PATIENCE):
        assert await one_of(stopping, broken)

    assert [task.cancelling() for task in asyncio.all_tasks() - before] == [1]
