"""Tag sets, where conversations and participants are filed under them, and the codes users hold."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from service.domain.tags import Codes
from sql.connection import Connection
from sql.statements import Command, Many


class InternedRow(NamedTuple):
    """A tag list and its number; ``settled``: a transaction that began to write earlier has committed it."""

    codes: list[str]
    id: int
    settled: bool


class TagSetRow(NamedTuple):
    """A number and its tag list; ``settled``: a transaction that began to write earlier has committed it."""

    id: int
    codes: list[str]
    settled: bool


class CodeRow(NamedTuple):
    """A code that a user holds, now (``active``) or only in a concluded course or group."""

    user_id: int
    code: str
    active: bool


class ConversationTagSet(NamedTuple):
    """What a conversation is filed under."""

    id: int
    tag_set: int


_INTERN = Many("intern_tag_sets", InternedRow)
_BY_ID = Many("tag_sets_by_id", TagSetRow)
_CODES_OF_USERS = Many("codes_of_users", CodeRow)
_CONVERSATION_TAG_SETS = Many("conversation_tag_sets", ConversationTagSet)
_RETAG_CONVERSATIONS = Command("retag_conversations")
_RETAG_PARTICIPANTS = Command("retag_participants")


async def intern_tag_sets(
    conn: Connection, lists: Iterable[tuple[str, ...]]
) -> list[tuple[tuple[str, ...], int, bool]]:
    """(codes, id, settled) per list; a list added elsewhere at this moment is missing: ask again."""
    rows = await _INTERN(conn, lists=json.dumps([list(codes) for codes in lists]))
    return [(tuple(row.codes), row.id, row.settled) for row in rows]


async def tag_sets_by_id(conn: Connection, set_ids: Sequence[int]) -> list[tuple[tuple[str, ...], int, bool]]:
    """(codes, id, settled) of each of these numbers."""
    return [(tuple(row.codes), row.id, row.settled) for row in await _BY_ID(conn, set_ids=set_ids)]


async def codes_of_users(conn: Connection, user_ids: Sequence[int]) -> dict[int, Codes]:
    """All and active codes of each user, also of those who hold none."""
    return held_codes(user_ids, await _CODES_OF_USERS(conn, user_ids=user_ids))


def held_codes(user_ids: Iterable[int], rows: Iterable[CodeRow]) -> dict[int, Codes]:
    """The same from rows that were read with something else."""
    held: dict[int, set[str]] = defaultdict(set)
    active: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        held[row.user_id].add(row.code)
        if row.active:
            active[row.user_id].add(row.code)
    return {user: Codes(frozenset(held[user]), frozenset(active[user]), bool(active[user])) for user in user_ids}


async def conversation_tag_sets(conn: Connection, conversation_ids: Sequence[int]) -> dict[int, int]:
    """Tag set of each conversation."""
    return dict(await _CONVERSATION_TAG_SETS(conn, conversation_ids=conversation_ids))


async def retag_conversations(conn: Connection, rows: Sequence[tuple[int, int]]) -> None:
    """Sets tags of (conversation id, tag set) rows."""
    conversations, tag_sets = zip(*sorted(rows), strict=True)
    await _RETAG_CONVERSATIONS(conn, conversation_ids=conversations, tag_sets=tag_sets)


async def retag_participants(conn: Connection, rows: Sequence[tuple[int, int, int]]) -> None:
    """Sets tags of (conversation id, user id, tag set) rows."""
    conversations, users, tag_sets = zip(*sorted(rows), strict=True)
    await _RETAG_PARTICIPANTS(conn, conversation_ids=conversations, user_ids=users, tag_sets=tag_sets)
