"""What the rows of chunks, replies and batch updates say of the attempts at them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Redelivery:
    """``redeliveries`` of the row while its work is unfinished, this one included, else None.

    ``given_up``: why the work was given up before, if it was.
    """

    redeliveries: int | None
    given_up: str | None
