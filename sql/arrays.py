"""Long arrays on their way to the server."""

from collections.abc import Sequence
from operator import eq
from typing import Any

import orjson


class Ids(Sequence[int]):
    """Integers that the server sent as the text of an array; numbers are made of it only when one is asked for.

    A million of them are 8 MB of text, and 40 MB as a list. Without text the server holds them until the transaction
    ends, as its setting ``clarion.recipients``: then they can be counted and passed on, and LookupError is raised when
    one is asked for.
    """

    __slots__ = ("_count", "_numbers", "text")

    def __init__(self, text: str | None, count: int) -> None:
        self.text = text
        self._count = count
        self._numbers: list[int] | None = None

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if self.text is None:
            raise LookupError("the server holds these numbers")
        if self._numbers is None:
            self._numbers = orjson.loads(f"[{self.text[1:-1]}]")
        return self._numbers[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(other) == len(self) and all(map(eq, self, other))

    def __hash__(self) -> int:
        return hash(self.text)


def array_text(numbers: Sequence[int | None]) -> str | None:
    """Integers and nulls as the text of an array, for a parameter written ``$1::text::bigint[]``; None for held ones.

    asyncpg looks at every element of a list: 20 ms for 100,000, where this and the server take 6.
    """
    if isinstance(numbers, Ids):
        return numbers.text
    return "{" + orjson.dumps(list(numbers)).decode()[1:-1] + "}"
