"""Which parameters and fields a test proves, so that it can be seen whether any is without a proof."""

import functools
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, ParamSpec, TypeAlias, TypeVar

from tests.support import published_api

Test = TypeVar("Test", bound=Callable[..., object])
Given = ParamSpec("Given")
# An answer, and what its described fields have to be: the same JSON without the other fields.
Shown: TypeAlias = tuple[Any, Any]

PROVEN: defaultdict[str, set[str]] = defaultdict(set)
SHOWN: set[str] = set()


def proves(route: str, *names: str) -> Callable[[Test], Test]:
    """Decorates a test that fails when one of these parameters of the route does not do what it is for."""

    def note(test: Test) -> Test:
        PROVEN[route].update(names)
        return test

    return note


def shows(route: str) -> Callable[[Callable[Given, Awaitable[Shown]]], Callable[Given, Awaitable[None]]]:
    """Makes a test of a function that returns an answer of the route and what its fields have to be.

    It fails when a field that is described is not expected, or is absent, or is something else.
    """
    SHOWN.add(route)

    def prove(ask: Callable[Given, Awaitable[Shown]]) -> Callable[Given, Awaitable[None]]:
        @functools.wraps(ask)
        async def test(*args: Given.args, **kwargs: Given.kwargs) -> None:
            answer, expected = await ask(*args, **kwargs)
            covered, wrong = set(fields_of(expected)), list(differences(answer, expected))
            assert covered == published_api.FIELDS[route], (
                f"expected or described, not both: {covered ^ published_api.FIELDS[route]}"
            )
            assert not wrong, "\n".join(wrong)
            assert not published_api.UNANSWERED.get(route, frozenset()) & set(fields_of(answer))

        return test

    return prove


def fields_of(json: Any, path: str = "") -> Iterator[str]:
    """Paths of all fields of an object, or of the objects of a list. Ids as keys are no fields."""
    if isinstance(json, list):
        for each in json:
            yield from fields_of(each, path)
    elif isinstance(json, dict) and not _is_map(json):
        for name, value in json.items():
            yield path + name
            yield from fields_of(value, f"{path}{name}.")


def differences(found: Any, expected: Any, path: str = "") -> Iterator[str]:
    """Where an answer lacks an expected field or has another value there; other fields it may have."""
    if isinstance(expected, dict) and not _is_map(expected) and isinstance(found, dict):
        for name, value in expected.items():
            if name in found:
                yield from differences(found[name], value, f"{path}.{name}")
            else:
                yield f"{path}.{name} is absent"
    elif isinstance(expected, list) and isinstance(found, list) and len(found) == len(expected):
        for position, (there, here) in enumerate(zip(found, expected, strict=True)):
            yield from differences(there, here, f"{path}[{position}]")
    elif found != expected:
        yield f"{path} is {found!r}, not {expected!r}"


def _is_map(json: dict[str, Any]) -> bool:
    """Whether its keys are ids."""
    return all(key.isdigit() for key in json)


class JustNow:
    """Equal to any time of the last minute in ISO 8601 with a zone."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and abs(datetime.now(UTC) - datetime.fromisoformat(other)) < timedelta(minutes=1)

    def __hash__(self) -> int:
        return hash(type(self))


class AnId:
    """Equal to any whole number above zero."""

    def __eq__(self, other: object) -> bool:
        return type(other) is int and other > 0

    def __hash__(self) -> int:
        return hash(type(self))
