"""Which parameters and fields a test proves, so that it can be seen whether any is without a proof."""

from collections import defaultdict
from collections.abc import Callable
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., object])

PROVEN: defaultdict[str, set[str]] = defaultdict(set)


def proves(route: str, *names: str) -> Callable[[Test], Test]:
    """Decorates a test that fails when one of these parameters of the route does not do what it is for."""

    def note(test: Test) -> Test:
        PROVEN[route].update(names)
        return test

    return note
