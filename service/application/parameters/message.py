"""The parameters of a message, whatever it is sent into."""

from typing import Any

from pydantic import Field

from service.application.parameters.types import CanvasBool, CodeList, IdList, RawList, ScalarCode, ScalarString
from service.application.parameters.view import ViewParameters


class DraftParameters(ViewParameters):
    """Base of request models that write a message (canvas/endpoints.md 4.2 and 4.9)."""

    recipients: RawList = Field(
        [],
        description="Ids of users, `uuid:X`, or everybody in `course_N`, `section_N` or `group_N`; with `_students`, "
        "`_teachers`, `_tas`, `_observers` or `_designers` behind it those alone; `differentiation_tag_N`.",
    )
    body: ScalarString = Field(None, description="The text, plain, up to 65535 characters.")
    context_code: ScalarCode = Field(None, description="The `course_N`, `group_N` or `account_N` this is about.")
    attachment_ids: IdList = Field([], description="Files from the sender's folder of conversation attachments.")
    forwarded_message_ids: IdList = Field([], description="Messages to forward, all from one conversation.")
    media_comment_id: ScalarString = Field(None, description="A recording that goes with the message.")
    media_comment_type: ScalarString = Field(
        None, description="What kind of recording.", json_schema_extra={"enum": ["audio", "video"]}
    )
    tags: CodeList = Field([], description="More contexts under which the conversation is found.")
    user_note: CanvasBool = Field(False, description="Also keep it in the faculty journal of the author's students.")


def draft_of(author_id: int, sent: DraftParameters) -> dict[str, Any]:
    """The fields of service.application.messages.draft.Draft."""
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
