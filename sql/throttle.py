"""The buckets of the throttle, one for each client: a token, or the user of a JWT (canvas/conventions.md 11)."""

from sql.connection import Connection
from sql.statements import Value

_CHANGE_BUCKET = Value[float | None]("change_bucket")


async def change_bucket(conn: Connection, client: bytes, seconds: float, longest: float) -> float | None:
    """Adds ``seconds``, which may be negative, to the time a bucket drains; that time, None without such a bucket."""
    return await _CHANGE_BUCKET(conn, client=client, seconds=seconds, longest=longest)
