"""Batches over HTTP: show, list, move, and what became of each recipient (CONTRACT 3.1)."""

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Self

import aiohttp
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from service.client.failures import RequestFailed
from service.client.http import PATIENCE, Client
from service.domain.batch import FINAL, BatchState, Move
from service.domain.batch_recipients import RecipientState

PAGE = 100  # rows; the most that the service gives at a time
_SILENCE = 120.0  # seconds, in which a part of a CSV must come


class BatchMessage(BaseModel):
    """What is sent."""

    body: str


class Batch(BaseModel):
    """The object of GET /conversations/batches/:id. ``document``: as it was answered."""

    model_config = ConfigDict(frozen=True)

    id: int
    state: str
    total: int
    delivered: int
    failed: int
    skipped: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    send_at: datetime | None
    error: str | None
    eta: datetime | None
    rate: float | None = Field(alias="recipients_per_second")
    message: BatchMessage
    document: dict[str, Any]

    @classmethod
    def read(cls, document: Any) -> Self:
        """RequestFailed where the document is no batch."""
        try:
            return cls.model_validate({**document, "document": document})
        except (ValidationError, TypeError):
            raise RequestFailed("CLARION_URL: the answer is no batch as Clarion shows it") from None

    @property
    def done(self) -> int:
        """Recipients that need no more work."""
        return self.delivered + self.failed + self.skipped

    @property
    def finished(self) -> bool:
        """Whether nothing of it changes any more; chunks in work outlast a cancel."""
        return self.state in FINAL and self.finished_at is not None

    @property
    def seconds_left(self) -> float | None:
        """At the present rate, by nobody's clock."""
        return (self.total - self.done) / self.rate if self.rate and not self.finished else None


async def show_batch(client: Client, batch_id: int, *, patience: float = PATIENCE) -> Batch:
    """As it is now. ``patience``: see Client.get."""
    return Batch.read((await client.get(f"/batches/{batch_id}", patience=patience)).body)


async def list_batches(client: Client, states: Sequence[BatchState], limit: int) -> tuple[list[Batch], bool]:
    """The newest so many in these states, and whether there are more."""
    found: list[Batch] = []
    parameters: dict[str, Any] = {"state[]": [str(state) for state in states], "per_page": min(limit + 1, PAGE)}
    async for rows in _pages(client, "/batches", parameters):
        found += map(Batch.read, rows)
        if len(found) > limit:
            break
    return found[:limit], len(found) > limit


async def move_batch(client: Client, batch_id: int, move: Move, *, key: str) -> Batch:
    """The batch as the move has left it. ``key``: see Client.post."""
    return Batch.read((await client.post(f"/batches/{batch_id}/{move}", {}, key=key)).body)


async def batch_recipients(
    client: Client, batch_id: int, state: RecipientState | None
) -> AsyncIterator[list[dict[str, Any]]]:
    """The recipients in that state, or all, a page at a time."""
    parameters = {"per_page": PAGE} | ({"state": str(state)} if state else {})
    async for rows in _pages(client, f"/batches/{batch_id}/recipients", parameters):
        yield rows


async def batch_recipients_csv(client: Client, batch_id: int, state: RecipientState | None) -> AsyncIterator[bytes]:
    """The same as CSV, in parts as they come. RequestFailed when it breaks, since it cannot be taken up again."""
    path = f"/batches/{batch_id}/recipients" + (f"?state={state}" if state else "")
    try:
        async with client.opened(path, accept="text/csv", silence=_SILENCE, patience=PATIENCE) as response:
            async for part in response.content.iter_any():
                yield part
    except (aiohttp.ClientError, TimeoutError) as error:
        raise client.broken(error) from None


async def _pages(client: Client, path: str, parameters: Mapping[str, Any]) -> AsyncIterator[list[dict[str, Any]]]:
    page: str | None = None
    while True:
        asked = dict(parameters) if page is None else {**parameters, "page": page}
        answer = await client.get(path, asked)
        if not isinstance(answer.body, list):
            raise RequestFailed("CLARION_URL: the answer is no list as Clarion gives it")
        yield answer.body
        page = answer.next_page
        if page is None:
            return
