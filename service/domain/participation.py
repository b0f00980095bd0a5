"""What a participant row says about a conversation (canvas/semantics.md 7)."""


def workflow_state(*, archived: bool, unread: bool) -> str:
    """``archived``, ``unread`` or ``read``: the archive hides whether a conversation was read."""
    if archived:
        return "archived"
    return "unread" if unread else "read"


def properties(*, last_author: bool, attachments: bool, media_objects: bool) -> list[str]:
    """The subset that holds, always in this order (canvas/endpoints.md 3.1)."""
    flags = {"last_author": last_author, "attachments": attachments, "media_objects": media_objects}
    return [name for name, holds in flags.items() if holds]
