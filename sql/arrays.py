"""Long arrays on their way to the server."""

from collections.abc import Sequence

import orjson


def array_text(numbers: Sequence[int]) -> str:
    """Integers as the text of an array, for a parameter written ``$1::text::bigint[]``.

    asyncpg looks at every element of a list: 20 ms for 100,000, where this and the server take 6.
    """
    return "{" + orjson.dumps(list(numbers)).decode()[1:-1] + "}"
