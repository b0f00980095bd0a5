"""Messages that forward each other, on the real gateway: its memory stays small."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path

from service.domain.forwards import MAX_FORWARDED_BYTES
from tests.support.institution import Institution
from tests.support.processes import Client, Installation

AsUser = Callable[[int], Awaitable[Client]]
MEMORY = 200_000_000  # bytes
NOTES = 12
BODY = 65_535


def peak(pid: int) -> int:
    """The most memory that a process has held so far, in bytes."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


async def test_twelve_notes_to_oneself_that_each_forward_all_before(
    running: Installation, institution: Institution, as_user: AsUser
) -> None:
    """In full the last of them would be 2^12 notes, more than 500 MB."""
    running.fresh = True  # its memory is its own
    gateway = await running.api()
    author = await institution.user()
    client = await as_user(author)
    written: list[int] = []
    for _ in range(NOTES):
        sent = {"body": "n" * BODY, "recipients": [str(author)], "forwarded_message_ids": written}
        status, made, _ = await client.call("POST", "/conversations", json=sent)
        assert status == 201
        written.append(made[0]["messages"][0]["id"])

    sent = {"body": "n" * BODY, "forwarded_message_ids": written}
    _, replied, _ = await client.call("POST", f"/conversations/{made[0]['id']}/add_message", json=sent)
    _, shown, _ = await client.call("GET", f"/conversations/{made[0]['id']}")

    assert len(json.dumps(replied)) < MAX_FORWARDED_BYTES + 2 * BODY
    assert len(json.dumps(shown)) < MAX_FORWARDED_BYTES + (NOTES + 2) * BODY
    assert peak(gateway.pid) < MEMORY
