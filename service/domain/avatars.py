"""Pictures of people and conversations (canvas/endpoints.md 3.6)."""

from collections.abc import Sequence
from dataclasses import dataclass

_NOBODY = "/images/messages/avatar-50.png"
_GROUP = "/images/messages/avatar-group-50.png"


@dataclass(frozen=True, slots=True)
class Avatars:
    """Absolute addresses of pictures; ``fallback`` off leaves people without a picture at null."""

    base_url: str
    fallback: bool = True

    def of_user(self, stored: str | None) -> str | None:
        """The user's own picture, or the silhouette."""
        if stored:
            return self.base_url + stored if stored.startswith("/") else stored
        return self.base_url + _NOBODY if self.fallback else None

    def of_conversation(self, own: str | None, others: Sequence[str | None]) -> str | None:
        """Alone: one's own picture; two: the other's; more: the group picture.

        ``own`` and ``others`` are pictures as stored, one for each participant.
        """
        if len(others) > 1:
            return self.base_url + _GROUP
        return self.of_user(others[0] if others else own)
