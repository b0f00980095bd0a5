"""Ids in text: where a parameter, a path or a code is read as a number (canvas/conventions.md 5 and 7).

Inside Clarion all ids are local. Global ones, which name the installation as well, become local at the edge
(``localised``), and those of other installations are no ids here (CONTRACT 6.16).
"""

import re

# Numbers in general are 64-bit; 19 digits can still be more than that.
MAX_ID = 2**63 - 1
_MAX_DIGITS = len(str(MAX_ID))

SHARD_SIZE = (
    10**13
)  # local ids are below; a global one is the number of its installation times this, plus the local one

# An id alone or behind the words of a code (``course_``), in a list between commas too; never the value of ``uuid:…``.
_ID = re.compile(r"(?:^|(?<=,))(\s*(?:[A-Za-z_]+_)?)(?:([0-9]{1,6})~([0-9]{1,13})|([0-9]{14,19}))(?![0-9~])", re.ASCII)


def parse_id(text: str) -> int | None:
    """The local id that a text writes: 1 to 19 ASCII digits, below SHARD_SIZE; None for anything else.

    Leading zeros say nothing, as in Canvas, but they count towards the 19 digits: a longer text is no id, whatever its
    value. ``0`` is an id that no record has; it is what a queued message is shown under (canvas/endpoints.md 4.9).
    """
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        return None
    number = int(text)
    return number if number < SHARD_SIZE else None


def localised(text: str, shard_id: int) -> str:
    """The text of a parameter that names records, with global ids of this installation as local ones.

    ``10000000000042`` and ``1~42`` are ``42`` where ``shard_id`` is 1, also in ``course_1~42_students``. Those of other
    installations stay, and name no record.
    """

    def local(match: re.Match[str]) -> str:
        shard, number = (int(match[2]), int(match[3])) if match[2] else divmod(int(match[4]), SHARD_SIZE)
        return f"{match[1]}{number}" if shard == shard_id else match[0]

    return _ID.sub(local, text)


def as_if_local(text: str) -> str | None:
    """The text with a local id for each global one that it has; None where it has none.

    After ``localised`` those are the ones of other installations: written well, and yet of no record here.
    """
    local = _ID.sub(lambda match: f"{match[1]}{int(match[3] or match[4]) % SHARD_SIZE}", text)
    return None if local == text else local
