"""The parameters of a message, whatever it is sent into."""

from typing import Any

from service.api.fields import CanvasBool, IdList, RawList, ScalarString, StringList
from service.api.viewpoints import ViewParameters


class DraftParameters(ViewParameters):
    """Base of request models that write a message (canvas/endpoints.md 4.2 and 4.9)."""

    recipients: RawList = []
    body: ScalarString = None
    context_code: ScalarString = None
    attachment_ids: IdList = []
    forwarded_message_ids: IdList = []
    media_comment_id: ScalarString = None
    media_comment_type: ScalarString = None
    tags: StringList = []
    user_note: CanvasBool = False


def draft_of(author_id: int, sent: DraftParameters) -> dict[str, Any]:
    """The fields of service.application.composing.Draft."""
    return {
        "author_id": author_id,
        "body": sent.body or "",
        "context_code": sent.context_code or None,
        "attachment_ids": sent.attachment_ids,
        "forwarded_message_ids": sent.forwarded_message_ids,
        "media_comment_id": sent.media_comment_id or None,
        "media_comment_type": sent.media_comment_type or None,
        "tags": sent.tags,
        "user_note": sent.user_note,
    }
