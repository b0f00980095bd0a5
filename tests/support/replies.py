"""What replies are answered with."""

from collections.abc import Awaitable, Callable
from typing import Any

Reply = Callable[..., Awaitable[Any]]

KEYS = {
    "id", "subject", "workflow_state", "last_message", "last_message_at", "last_authored_message",
    "last_authored_message_at", "message_count", "subscribed", "private", "starred", "properties", "audience",
    "audience_contexts", "avatar_url", "participants", "visible", "context_code", "messages",
}  # fmt: skip
MESSAGE_KEYS = {
    "id", "created_at", "body", "author_id", "generated", "media_comment", "forwarded_messages", "attachments",
    "participating_user_ids",
}  # fmt: skip


def refused(attribute: str, message: str) -> list[dict[str, str]]:
    """Shape A of canvas/endpoints.md 2.1."""
    return [{"attribute": attribute, "message": message}]
