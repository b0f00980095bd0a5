"""Numbers of tag lists, which a process remembers."""

import asyncpg

from service.application.messages.tag_sets import TagSets


async def test_what_is_remembered_is_what_is_stored(conn: asyncpg.Connection) -> None:
    lists = [("course_1",), ("course_1", "group_2"), ()]
    numbers = await TagSets().intern(conn, lists)
    tag_sets = TagSets()

    first = await tag_sets.lists(conn, [numbers[lists[0]]])
    then = [await tag_sets.lists(conn, numbers.values()) for _ in range(2)]

    assert first == {numbers[lists[0]]: lists[0]}
    assert then == [{number: codes for codes, number in numbers.items()}] * 2


async def test_a_number_that_is_rolled_back_is_not_remembered(conn: asyncpg.Connection) -> None:
    """After a crash of the server another list may get it."""
    tag_sets, codes = TagSets(), ("course_1",)
    transaction = conn.transaction()
    await transaction.start()
    (number,) = (await tag_sets.intern(conn, [codes])).values()
    assert await tag_sets.lists(conn, [number]) == {number: codes}
    await transaction.rollback()

    assert await tag_sets.lists(conn, [number]) == {}
    await conn.execute("INSERT INTO tag_sets (id, codes) VALUES ($1, '{course_2}')", number)
    assert await tag_sets.lists(conn, [number]) == {number: ("course_2",)}
