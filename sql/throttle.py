"""The buckets of the throttle, one for each token (canvas/conventions.md 11)."""

from sql.connection import Connection
from sql.statements import Value

_CHANGE_BUCKET = Value[float | None]("change_bucket")


async def change_bucket(conn: Connection, token_hash: bytes, seconds: float, longest: float) -> float | None:
    """Lets a bucket drain by ``seconds`` more or less; seconds that it now takes. None when there is none any more."""
    return await _CHANGE_BUCKET(conn, token_hash=token_hash, seconds=seconds, longest=longest)
