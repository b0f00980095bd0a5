"""How long it takes to look into a mailbox."""

from statistics import median
from time import perf_counter

from tests.support.processes import Client


async def p50(client: Client, path: str, *, requests: int) -> float:
    """Median seconds of a GET, one after the other, after some that do not count."""
    seconds = []
    for _ in range(requests + requests // 4):
        start = perf_counter()
        status, body, _ = await client.call("GET", path)
        seconds.append(perf_counter() - start)
        assert status == 200, body
    return median(seconds[-requests:])
