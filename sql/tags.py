"""Tag sets and the codes users hold."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence

from service.domain.tags import Codes
from sql.connection import Connection
from sql.statements import text_of

_INTERN = text_of("intern_tag_sets")
_BY_ID = text_of("tag_sets_by_id")
_CODES_OF_USERS = text_of("codes_of_users")


async def intern_tag_sets(
    conn: Connection, lists: Iterable[tuple[str, ...]]
) -> list[tuple[tuple[str, ...], int, bool]]:
    """(codes, id, settled) per list; a list added elsewhere at this moment is missing: ask again."""
    rows = await conn.fetch(_INTERN, json.dumps([list(codes) for codes in lists]))
    return [(tuple(row["codes"]), row["id"], row["settled"]) for row in rows]


async def tag_sets_by_id(conn: Connection, set_ids: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """The lists behind tag set numbers."""
    return {row["id"]: tuple(row["codes"]) for row in await conn.fetch(_BY_ID, set_ids)}


async def codes_of_users(conn: Connection, user_ids: Sequence[int]) -> dict[int, Codes]:
    """All and active codes of each user, also of those who hold none."""
    held: dict[int, set[str]] = defaultdict(set)
    active: dict[int, set[str]] = defaultdict(set)
    for row in await conn.fetch(_CODES_OF_USERS, user_ids):
        held[row["user_id"]].add(row["code"])
        if row["active"]:
            active[row["user_id"]].add(row["code"])
    return {user: Codes(frozenset(held[user]), frozenset(active[user]), bool(active[user])) for user in user_ids}
