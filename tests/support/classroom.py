"""People with tokens, and what they call under the names that the published descriptions use."""

from typing import Any

import aiohttp

from tests.support.http_calls import call


class Person:
    """A user with a token. Parameters go as a form or in the query, under the names of the descriptions."""

    def __init__(self, client: aiohttp.ClientSession, headers: dict[str, str], user_id: int) -> None:
        self._client = client
        self._headers = headers
        self.id = user_id

    async def get(self, path: str, *parameters: tuple[str, Any], status: int = 200) -> Any:
        """The answer's JSON."""
        query = [(name, str(value)) for name, value in parameters]
        return await call(self._client, self._headers, "GET", path, status=status, params=query)

    async def send(self, method: str, path: str, *parameters: tuple[str, Any], status: int = 200) -> Any:
        """The answer's JSON."""
        form = aiohttp.FormData([(name, str(value)) for name, value in parameters])
        return await call(self._client, self._headers, method, path, status=status, data=form)

    async def ids(self, *parameters: tuple[str, Any]) -> list[int]:
        """Of the conversations in a list."""
        return [found["id"] for found in await self.get("/conversations", *parameters)]

    async def write(self, *parameters: tuple[str, Any]) -> dict[str, Any]:
        """The one conversation of a new message."""
        (made,) = await self.send("POST", "/conversations", ("body", "Hello"), *parameters, status=201)
        found: dict[str, Any] = made
        return found


class Classroom:
    """A course with a teacher and three students."""

    def __init__(self, course: int, teacher: Person, students: list[Person]) -> None:
        self.course = course
        self.teacher = teacher
        self.first, self.second, self.third = students

    @property
    def code(self) -> str:
        """course_N"""
        return f"course_{self.course}"

    def to(self, *people: Person) -> list[tuple[str, Any]]:
        """Recipients, of a group when they are many."""
        named: list[tuple[str, Any]] = [("recipients[]", person.id) for person in people]
        return [*named, ("group_conversation", "true")] if len(people) > 1 else named
