"""The short form of a message in a list (canvas/semantics.md 5)."""

LENGTH = 100  # characters, not bytes
_DOTS = "..."


def preview(body: str) -> str:
    """The body itself if it has at most 100 characters, else its first 97 and three dots.

    Nothing is stripped and no word boundary is looked for.
    """
    return body if len(body) <= LENGTH else body[: LENGTH - len(_DOTS)] + _DOTS
