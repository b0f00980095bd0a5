"""A batch that is followed to its end: ``clarion send --follow``, ``clarion batch watch``."""

import asyncio

from rich.console import Console

from service.cli.caller import Interrupted
from service.cli.failure import Failed
from service.cli.json_output import write_json
from service.client.failures import RequestFailed
from service.client.http import Client
from service.client.progress import follow, last_of, line


async def follow_batch(client: Client, batch_id: int, *, as_json: bool) -> None:
    """A bar, lines, or in the end its object. Failed for a batch in error; Interrupted after Ctrl-C."""
    back = f"clarion batch watch {batch_id}"
    try:
        last = await (last_of(client, batch_id) if as_json else follow(client, batch_id, Console()))
    except asyncio.CancelledError:
        raise Interrupted(f"detached from batch {batch_id}, which goes on; to come back: {back}") from None
    except RequestFailed as error:
        if error.not_found:
            raise
        raise RequestFailed(f"{error} (to come back to the batch: {back})") from None
    if as_json:
        write_json(last.document)
    if last.state == "error":
        raise Failed(line(last) + (f" ({last.error})" if last.error else ""))
