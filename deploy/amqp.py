"""Whether a broker accepts a connection."""

import asyncio
import logging

import aiormq
import aiormq.exceptions

FAILURES = (OSError, ValueError, TimeoutError, aiormq.exceptions.AMQPError)

# It logs every refused connection, and refusal is what is waited out here.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)


async def server_version(url: str, *, patience: float) -> str:
    """What the broker calls its version; one of FAILURES when it accepts no connection within ``patience`` seconds."""
    async with asyncio.timeout(patience):
        connection = await aiormq.connect(url)
    try:
        version = connection.server_properties.get("version", b"")
        return version.decode() if isinstance(version, bytes) else str(version)
    finally:
        await connection.close()
