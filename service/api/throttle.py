"""Throttling of each access token, and of each user who signs in by JWT, over all replicas (canvas/conventions.md 11;
the arithmetic is service/domain/leaky_bucket.py, the state one row of throttle_buckets).

The statement that finds the caller also reserves the request's pre-flight cost, and when the answer begins a second one
gives it back and takes the real cost. An open event stream therefore holds no reservation.
"""

import asyncio
import math
import time
from dataclasses import dataclass, field
from http import HTTPStatus

import asyncpg
import structlog
from aiohttp import hdrs, web

from service.api.keys import POOL, SETTINGS
from service.api.metering import METER
from service.domain.leaky_bucket import LeakyBucket
from service.runtime.metrics import THROTTLED
from service.runtime.postgres import ACQUIRE_TIMEOUT, UNAVAILABLE
from service.runtime.settings import Settings
from sql.throttle import change_bucket

log = structlog.get_logger(__name__)

# Seconds that an answer waits for its settlement; then it goes out with what can be said without it.
PATIENCE = 0.25
FINISH = 2.0  # seconds that settlements have when the process stops; what they reserved drains by itself

TEXTS = {
    403: "403 Forbidden (Rate Limit Exceeded)\n",
    429: "429 Too Many Requests (Rate Limit Exceeded)\n",
}


Settlement = asyncio.Task[float | None]  # seconds in which the bucket then drains; None when it failed


class OverTheMark(Exception):
    """The request's client has too many requests open, or they cost too much."""


@dataclass(slots=True)
class Reservation:
    """A request's pre-flight cost in its client's bucket, until it is settled."""

    rules: LeakyBucket
    client: bytes
    drains_in: float  # seconds, this reservation included
    refused: bool = False
    made_at: float = field(default_factory=time.monotonic)

    def estimate(self, seconds: float) -> float:
        """In how many seconds the bucket drains after a change, as far as one replica knows."""
        return self.rules.poured(self.drains_in - (time.monotonic() - self.made_at), seconds)


RESERVATION: web.RequestKey[Reservation] = web.RequestKey("reservation")
SETTLING: web.AppKey[set[Settlement]] = web.AppKey("settling")  # reservations on their way back


def rules_of(settings: Settings) -> LeakyBucket | None:
    """The bucket's rules; None when throttling is off."""
    if settings.throttle_maximum == 0:
        return None
    return LeakyBucket(
        maximum=settings.throttle_maximum,
        high_water=settings.throttle_high_water,
        outflow=settings.throttle_outflow,
        preflight=settings.throttle_preflight,
    )


def admit(request: web.Request, reservation: Reservation) -> None:
    """Notes the reservation on the request, to be settled with its answer; OverTheMark when the bucket is full."""
    request[RESERVATION] = reservation
    if reservation.rules.is_full(reservation.drains_in):
        reservation.refused = True
        raise OverTheMark


def turn_away(request: web.Request) -> web.Response:
    """The answer of a throttled request: plain text, and a 429 says when to come again (CONTRACT 6.20)."""
    THROTTLED.inc()
    status, reservation = request.app[SETTINGS].throttle_status, request[RESERVATION]
    seconds = math.ceil(reservation.rules.full_for(reservation.drains_in))
    again = {hdrs.RETRY_AFTER: str(max(seconds, 1))} if HTTPStatus(status) is HTTPStatus.TOO_MANY_REQUESTS else {}
    return web.Response(text=TEXTS[status], status=status, headers=again)


async def add_throttle_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Settles the request's reservation, and says what is left of the client's quota."""
    reservation = request.get(RESERVATION)
    if reservation is None:
        return
    cost = 0.0 if reservation.refused else request[METER].cost
    drains_in = await _settled(request.app, reservation, reservation.rules.settling(cost))
    if reservation.refused:
        response.headers["X-Rate-Limit-Remaining"] = "0.0"
        del response.headers["X-Request-Cost"]
    else:
        response.headers["X-Rate-Limit-Remaining"] = f"{reservation.rules.remaining(drains_in):.6f}"


async def _settled(app: web.Application, reservation: Reservation, seconds: float) -> float:
    """In how many seconds the bucket drains now. The settlement goes on when the answer has waited long enough."""
    task = asyncio.create_task(_settle(app[POOL], reservation, seconds))
    app[SETTLING].add(task)
    task.add_done_callback(app[SETTLING].discard)
    await asyncio.wait({task}, timeout=PATIENCE)
    known = task.result() if task.done() else None
    return reservation.estimate(seconds) if known is None else known


async def _settle(pool: asyncpg.Pool, reservation: Reservation, seconds: float) -> float | None:
    try:
        async with pool.acquire(timeout=ACQUIRE_TIMEOUT) as conn:
            return await change_bucket(conn, reservation.client, seconds, reservation.rules.longest)
    except (*UNAVAILABLE, asyncpg.PostgresError) as error:
        # The reservation drains by itself, in seconds.
        log.warning("throttle_not_settled", error=repr(error))
        return None


async def finish_settling(app: web.Application) -> None:
    """What answers did not wait for, before the pool is closed."""
    waiting = app[SETTLING]
    if waiting:
        await asyncio.wait(waiting, timeout=FINISH)
