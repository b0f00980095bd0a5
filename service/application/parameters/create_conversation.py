"""The parameters of a new message, whichever way they came."""

from typing import Annotated

from pydantic import AliasChoices, Field
from pydantic.json_schema import SkipJsonSchema

from service.application.address_book.rights import UserRights
from service.application.messages.create_request import CreateConversation
from service.application.parameters.message import DraftParameters, draft_of
from service.application.parameters.types import CanvasBool, GivenText, IdList, ScalarString, SentList
from service.domain.schedule import start_of


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
        description="`async`: a bulk message is delivered after the answer, as one to very many always is.",
        json_schema_extra={"enum": ["sync", "async"]},
    )
    from_conversation_id: IdList = Field(
        [], description="A conversation of the sender's, whose participants may be written to without another reason."
    )
    display_from: ScalarString = Field(None, description="Only for service tokens of the site.")
    dry_run: CanvasBool = Field(
        False, description="Say what would happen, and to whom it would not go; nothing is stored or sent."
    )
    send_at: GivenText = Field(
        None,
        description="Start then, not now: ISO 8601 with a time and a zone, at most 366 days ahead. Who gets it is "
        "looked up again when it starts.",
        json_schema_extra={"format": "date-time"},
    )
    # For the answer of a dry run: ``recipients`` has local ids.
    recipients_sent: Annotated[SentList, SkipJsonSchema()] = Field([], validation_alias=AliasChoices("recipients"))


def command_of(author_id: int, sent: CreateParameters, actor: UserRights | None = None) -> CreateConversation:
    """The request as it is carried out; ``actor``: of who acts as the author. Refusal for a wrong ``send_at``."""
    return CreateConversation(
        **draft_of(author_id, sent, actor),
        recipients=sent.recipients,
        recipients_sent=sent.recipients_sent,
        subject=sent.subject,
        group_conversation=sent.group_conversation,
        bulk_message=sent.bulk_message,
        force_new=sent.force_new,
        asynchronous=sent.mode == "async",
        from_conversation_id=sent.from_conversation_id[0] if sent.from_conversation_id else None,
        display_from=sent.display_from or None,
        dry_run=sent.dry_run,
        send_at=start_of(sent.send_at),
    )
