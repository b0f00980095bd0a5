"""Commands: work for the workers, published by the gateway and by workers.

A command only names a row, and the row holds the state: so a command may be lost, doubled or late.
"""

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from service.contracts.versions import Version

RowId = Annotated[int, Field(ge=1, lt=2**63)]


class Command(BaseModel):
    """What every command has; ``version`` moves when a body changes its meaning."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    name: str
    version: Version = 1


class PlanBatch(Command):
    """Publish a DeliverChunk for the first pending chunks of the batch; the others follow as these are delivered."""

    name: Literal["plan"] = "plan"
    batch_id: RowId

    @property
    def message_id(self) -> str:
        """``plan.7``"""
        return f"plan.{self.batch_id}"


class DeliverChunk(Command):
    """Write one chunk's messages."""

    name: Literal["deliver"] = "deliver"
    batch_id: RowId
    position: Annotated[int, Field(ge=0, lt=2**31)]

    @property
    def message_id(self) -> str:
        """``deliver.7.12``"""
        return f"deliver.{self.batch_id}.{self.position}"


class DeliverReply(Command):
    """Write what waits in the reply's conversation, up to that reply and beyond, in order."""

    name: Literal["reply"] = "reply"
    reply_id: RowId

    @property
    def message_id(self) -> str:
        """``reply.7``"""
        return f"reply.{self.reply_id}"


class UpdateConversations(Command):
    """Carry out a batch update of a user's conversations."""

    name: Literal["update"] = "update"
    progress_id: RowId

    @property
    def message_id(self) -> str:
        """``update.7``"""
        return f"update.{self.progress_id}"


AnyCommand: TypeAlias = PlanBatch | DeliverChunk | DeliverReply | UpdateConversations
_ADAPTER: TypeAdapter[AnyCommand] = TypeAdapter(Annotated[AnyCommand, Field(discriminator="name")])


def parse_command(body: bytes) -> AnyCommand:
    """A command from its wire form; pydantic.ValidationError when it is none of ours or of an unknown version."""
    return _ADAPTER.validate_json(body)
