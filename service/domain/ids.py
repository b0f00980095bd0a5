"""Ids in text: where a parameter, a path or a code is read as a number (canvas/conventions.md 5 and 7)."""

# Ids are 64-bit; 19 digits can still be more than that, which is then no id.
MAX_ID = 2**63 - 1
_MAX_DIGITS = len(str(MAX_ID))


def parse_id(text: str) -> int | None:
    """The id that a text writes: 1 to 19 ASCII digits, at most MAX_ID; None for anything else.

    Leading zeros say nothing, as in Canvas, but they count towards the 19 digits: a longer text is no id, whatever its
    value. ``0`` is an id that no record has; it is what a queued message is shown under (canvas/endpoints.md 4.9).
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        return None
    number = int(text)
    return number if number <= MAX_ID else None
