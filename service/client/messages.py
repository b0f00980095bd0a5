"""Sending over HTTP: POST /conversations (CONTRACT 3.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from service.client.failures import RequestFailed
from service.client.http import Client


@dataclass(frozen=True, slots=True)
class NewMessage:
    """What to send and how (canvas/endpoints.md 4.2). ``send_at``: ISO 8601 with a zone."""

    recipients: Sequence[str]
    body: str
    subject: str | None = None
    context_code: str | None = None
    group: bool = False
    bulk: bool = False
    asynchronous: bool = False
    send_at: str | None = None

    def parameters(self) -> dict[str, Any]:
        """The JSON body of POST /conversations."""
        parameters: dict[str, Any] = {
            "recipients": list(self.recipients),
            "body": self.body,
            "group_conversation": self.group,
            "bulk_message": self.bulk,
            "mode": "async" if self.asynchronous else "sync",
        }
        optional = {"subject": self.subject, "context_code": self.context_code, "send_at": self.send_at}
        return parameters | {key: value for key, value in optional.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of it: the conversations as they were answered, or the batch that is going to make them."""

    conversations: Sequence[dict[str, Any]]
    batch_id: int | None


class Rejected(BaseModel):
    """Whom it would not reach."""

    recipient: str
    reason: str


class DryRun(BaseModel):
    """What would happen. ``document``: as it was answered."""

    model_config = ConfigDict(frozen=True)

    mode: str
    kind: str
    total: int
    new_conversations: int
    reused_conversations: int
    limit: int | None
    rejected: list[Rejected]
    rejected_count: int
    document: dict[str, Any]


async def send(client: Client, message: NewMessage, *, key: str) -> Sent:
    """Sends it once, however often the request is repeated under that idempotency key. RequestFailed where the answer
    is not Clarion's.
    """
    answer = await client.post("", message.parameters(), key=key)
    if not (isinstance(answer.body, list) and all(isinstance(each, dict) and "id" in each for each in answer.body)):
        raise RequestFailed("CLARION_URL: the answer is no list of conversations as Clarion gives it")
    batch_id = answer.headers.get("X-Conversation-Batch-Id", "")
    return Sent(answer.body, int(batch_id) if batch_id.isdigit() else None)


async def preview(client: Client, message: NewMessage) -> DryRun:
    """Sends nothing. It has no key: its answer would be kept under it, and the send refused."""
    document = (await client.post("", message.parameters() | {"dry_run": True}, key=None)).body
    try:
        return DryRun.model_validate({**document, "document": document})
    except (ValidationError, TypeError):
        raise RequestFailed("CLARION_URL: the answer is no dry run as Clarion gives it") from None
