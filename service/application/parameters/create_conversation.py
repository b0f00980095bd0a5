"""The parameters of a new message, whichever way they came."""

from pydantic import Field

from service.application.messages.create import CreateConversation
from service.application.parameters.message import DraftParameters, draft_of
from service.application.parameters.types import CanvasBool, IdList, ScalarString


class CreateParameters(DraftParameters):
    """canvas/endpoints.md 4.2"""

    subject: ScalarString = Field(None, description="Up to 255 characters; a thread that is reused keeps its own.")
    group_conversation: CanvasBool = Field(False, description="One conversation of all, where everybody sees replies.")
    bulk_message: CanvasBool = Field(
        False, description="With group_conversation: one new conversation with each recipient, however many they are."
    )
    force_new: CanvasBool = Field(False, description="A new conversation with each recipient, never the thread before.")
    mode: ScalarString = Field(
        None,
        description="`async`: a bulk message is accepted, and delivered after the answer.",
        json_schema_extra={"enum": ["sync", "async"]},
    )
    from_conversation_id: IdList = Field(
        [], description="A conversation of the sender's, whose participants may be written to without another reason."
    )
    display_from: ScalarString = Field(None, description="Only for service tokens of the site.")


def command_of(author_id: int, sent: CreateParameters) -> CreateConversation:
    """The request as it is carried out."""
    return CreateConversation(
        **draft_of(author_id, sent),
        recipients=sent.recipients,
        subject=sent.subject,
        group_conversation=sent.group_conversation,
        bulk_message=sent.bulk_message,
        force_new=sent.force_new,
        asynchronous=sent.mode == "async",
        from_conversation_id=sent.from_conversation_id[0] if sent.from_conversation_id else None,
        display_from=sent.display_from or None,
    )
