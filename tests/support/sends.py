"""Messages as they are stored, where a test needs one and not how it came."""

from dataclasses import replace
from typing import Any

from sql.sends import NewSend

_PLAIN = NewSend(
    author_id=0,
    body="Hello",
    subject=None,
    private=True,
    context_type=None,
    context_id=None,
    root_account_ids=[1],
    attachment_ids=[],
    forwarded_message_ids=[],
    forwarded_conversation_id=None,
    media_id=None,
    has_attachments=False,
    has_media_objects=False,
    automated=False,
)


def send_of(author_id: int, **parts: Any) -> NewSend:
    """A plain private message without context, but for the parts given."""
    return replace(_PLAIN, author_id=author_id, **parts)
