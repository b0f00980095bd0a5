"""Sentences of generated messages, made when read, so that a later rename shows (canvas/semantics.md 7.5)."""

from collections.abc import Sequence


def users_added(names: Sequence[str], author: str) -> str:
    """``A, B, and C were added to the conversation by D``; names in the order of user ids."""
    verb = "was" if len(names) == 1 else "were"
    return f"{_listed(names)} {verb} added to the conversation by {author}"


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    match others:
        case []:
            return last
        case [other]:
            return f"{other} and {last}"
    return f"{', '.join(others)}, and {last}"
