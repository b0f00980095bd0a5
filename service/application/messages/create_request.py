"""The request of POST /conversations, parsed; and as it is kept for a send that starts later."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import orjson

from service.application.address_book.rights import UserRights
from service.application.messages.draft import Draft


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateConversation(Draft):
    """``recipients`` keeps the types the client sent (canvas/endpoints.md 4.2 validation step 6 looks at them).

    ``recipients_sent``: the same, before global ids became local ones.
    """

    recipients: Sequence[Any]
    recipients_sent: Sequence[Any] = ()
    subject: str | None = None
    group_conversation: bool = False
    bulk_message: bool = False
    force_new: bool = False
    asynchronous: bool = False
    from_conversation_id: int | None = None
    display_from: str | None = None
    dry_run: bool = False
    send_at: datetime | None = None


# What a kept request has not. Who sends it, and when, stands in its batch; the sender may have been merged into another
# user since. ``actor_id`` is kept for the rights of who acts as the sender.
_NOT_KEPT = frozenset({"author_id", "actor", "recipients_sent", "dry_run", "send_at"})
_KEPT = frozenset(field.name for field in fields(CreateConversation)) - _NOT_KEPT


@dataclass(frozen=True, slots=True)
class KeptRequest:
    """A request as it was kept. ``actor_id``: of who acted as the sender."""

    actor_id: int | None
    parameters: dict[str, Any]

    def request(
        self, author_id: int, actor: UserRights | None, *, recipients: Sequence[str] | None = None
    ) -> CreateConversation:
        """The request of now; ``recipients``: other names of the same people."""
        renamed = {} if recipients is None else {"recipients": recipients}
        return CreateConversation(author_id=author_id, actor=actor, **(self.parameters | renamed))

    @property
    def recipients(self) -> list[str]:
        """Whom it names."""
        return list(self.parameters["recipients"])

    @property
    def context_code(self) -> str | None:
        """The context that it is about."""
        code: str | None = self.parameters.get("context_code")
        return code


def request_text(request: CreateConversation) -> str:
    """JSON of a request, to be kept."""
    kept = {name: getattr(request, name) for name in _KEPT}
    actor_id = request.actor.roles.user_id if request.actor else None
    return orjson.dumps({"actor_id": actor_id, "parameters": kept}).decode()


def read_request(text: str) -> KeptRequest:
    """A request that was kept, by this release or by one that kept more."""
    kept = orjson.loads(text)
    parameters = {name: value for name, value in kept["parameters"].items() if name in _KEPT}
    return KeptRequest(kept["actor_id"], parameters)
