"""GET /search/recipients and GET /conversations/find_recipients (canvas/endpoints.md 4.13)."""

import re
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession
from yarl import URL

from tests.support.gateway import PUBLIC_URL
from tests.support.http_calls import NOT_FOUND, call
from tests.support.institution import Institution

Token = Callable[..., Awaitable[dict[str, str]]]
PATHS = ["/search/recipients", "/conversations/find_recipients"]
_ENTRY = re.compile(r'<([^>]*)>; rel="(\w+)"')


@pytest.fixture(params=PATHS)
def path(request: pytest.FixtureRequest) -> str:
    """Both routes answer alike."""
    return str(request.param)


async def page(client: ClientSession, headers: dict[str, str], url: URL) -> tuple[list[Any], dict[str, URL]]:
    """A page's ids and its links, as paths."""
    async with client.get(url, headers=headers) as response:
        assert response.status == 200, await response.text()
        entries = _ENTRY.findall(response.headers.get("Link", ""))
        links = {rel: URL(link.removeprefix(PUBLIC_URL), encoded=True) for link, rel in entries}
        assert ",".join(f'<{PUBLIC_URL}{url}>; rel="{rel}"' for rel, url in links.items()) == response.headers["Link"]
        return [item["id"] for item in await response.json()], links


async def test_nothing_to_look_for_is_nothing_found(
    client: ClientSession, token: Token, institution: Institution, path: str
) -> None:
    headers = await token(await institution.user())

    for asked in ("", "?context=nonsense", "?type=user", ".json?page=2"):
        assert await call(client, headers, "GET", path + asked) == []


async def test_walking_next_visits_everybody_once(
    client: ClientSession, token: Token, institution: Institution, path: str
) -> None:
    course = await institution.course("Course, of 23")
    viewer, *others = await institution.users(23)
    await institution.enroll(course, [viewer, *others])
    groups = [await institution.group(name=f"Group {n}", members=[viewer]) for n in range(1, 7)]
    headers = await token(viewer)

    visited: list[Any] = []
    start = url = URL(f"/api/v1{path}.json").with_query([("search", ""), ("types[]", "user"), ("types[]", "context")])
    url = url.update_query(per_page="4", page="first", access_token="x")
    rels = []
    while url:
        ids, links = await page(client, headers, url)
        visited += ids
        rels.append(list(links))
        assert links["first"].query["page"] == "first"
        assert links["first"].path == start.path.removesuffix(".json")
        assert links["first"].query.getall("types[]") == ["user", "context"]
        assert "access_token" not in links["first"].query
        url = links.get("next", URL())

    assert visited == [f"course_{course}", *(f"group_{id_}" for id_ in groups), viewer, *others]
    assert rels == [["current", "next", "first"]] * 7 + [["current", "first", "last"]]


async def test_a_page_that_ends_with_the_list_has_no_next(
    client: ClientSession, token: Token, institution: Institution
) -> None:
    course = await institution.course()
    viewer, fellow = await institution.users(2)
    await institution.enroll(course, [viewer, fellow])

    url = URL(f"/api/v1/search/recipients?context=course_{course}&per_page=2")
    ids, links = await page(client, await token(viewer), url)

    assert ids == [viewer, fellow]
    assert list(links) == ["current", "first", "last"]
    assert links["last"].query["page"] == "first"


async def test_who_leaves_between_pages_moves_no_one_else(
    client: ClientSession, token: Token, institution: Institution, conn: asyncpg.Connection
) -> None:
    course = await institution.course()
    viewer, *others = await institution.users(5)
    enrollments = await institution.enroll(course, [viewer, *others])
    headers = await token(viewer)

    first, links = await page(client, headers, URL(f"/api/v1/search/recipients?context=course_{course}&per_page=2"))
    await conn.execute("UPDATE enrollments SET workflow_state = 'deleted' WHERE id = $1", enrollments[1])
    second, _ = await page(client, headers, links["next"])

    assert [*first, *second] == [viewer, *others[:3]]


@pytest.mark.parametrize("mark", ["2", "bookmark:", "bookmark:xyz", "bookmark:W10"])
async def test_a_damaged_bookmark_is_refused(
    client: ClientSession, token: Token, institution: Institution, path: str, mark: str
) -> None:
    headers = await token(await institution.user())

    answer = await call(client, headers, "GET", f"{path}?search=x&page={mark}", status=400)

    message = "Invalid page; please restart iteration and follow `next` links"
    assert answer == {"status": "bad_request", "errors": [{"page": message}]}


async def test_one_user_whatever_else_is_asked(
    client: ClientSession, token: Token, institution: Institution, path: str
) -> None:
    course = await institution.course()
    viewer, fellow, outsider = await institution.users(3)
    await institution.enroll(course, [viewer, fellow])
    headers = await token(viewer)

    found = await call(client, headers, "GET", f"{path}?user_id={fellow}&search=zzz&context=course_9&page=2")

    assert found == [
        {
            "id": fellow,
            "name": f"U{fellow}",
            "full_name": f"User {fellow}",
            "pronouns": None,
            "common_courses": {str(course): ["StudentEnrollment"]},
            "common_groups": {},
            "avatar_url": f"{PUBLIC_URL}/images/messages/avatar-50.png",
        }
    ]
    assert await call(client, headers, "GET", f"{path}?user_id={outsider}") == []
    assert await call(client, headers, "GET", f"{path}?user_id=9", status=404) == NOT_FOUND
    (own,) = await call(client, headers, "GET", f"{path}?user_id=self")
    assert (own["id"], own["common_courses"]) == (viewer, {})


async def test_every_parameter_reaches_the_search(
    client: ClientSession, token: Token, institution: Institution, path: str
) -> None:
    course = await institution.course("Biology")
    teacher, student = await institution.user("Bio Teacher"), await institution.user("Bio Student")
    await institution.enroll(course, teacher, "Teacher")
    await institution.enroll(course, student)
    old = await institution.course("Biology of old", state="completed")
    await institution.enroll(old, teacher)
    headers = await token(teacher)

    async def ids(query: str) -> list[Any]:
        return [item["id"] for item in await call(client, headers, "GET", f"{path}?{query}")]

    assert await ids("search=bio") == [f"course_{course}", teacher, student]
    assert await ids("search=bio&type=user&exclude[]=" + str(teacher)) == [student]
    assert await ids(f"search=bio&type=context&exclude[]=course_{course}") == []
    assert await ids("search=bio&types[]=course&include_inactive=1") == [f"course_{course}", f"course_{old}"]
    assert await ids("search=bio&types[]=course&include_inactive=1&messageable_only=true") == [f"course_{course}"]
    assert await ids(f"context=course_{course}_students") == [student]
    assert await ids(f"context=course_{course}&synthetic_contexts=1") == [
        f"course_{course}_teachers",
        f"course_{course}_students",
    ]
    (item,) = await call(client, headers, "GET", f"{path}?search=bio&type=course&permissions[]=send_messages_all")
    assert item["permissions"] == {"send_messages_all": True}
    assert await call(client, headers, "GET", f"{path}?context=course_9", status=404) == NOT_FOUND


async def test_ids_are_text_for_those_who_ask(client: ClientSession, token: Token, institution: Institution) -> None:
    viewer = await institution.user()
    headers = {**await token(viewer), "Accept": "application/json+canvas-string-ids"}

    (own,) = await call(client, headers, "GET", "/search/recipients?user_id=self")

    assert own["id"] == str(viewer)


async def test_the_fake_student_may_search_and_not_ask_the_conversations(
    client: ClientSession, token: Token, institution: Institution
) -> None:
    course = await institution.course()
    fake = await institution.user()
    await institution.enroll(course, fake, "StudentView")
    headers = await token(fake)

    assert await call(client, headers, "GET", "/search/recipients?search=x") == []
    await call(client, headers, "GET", "/conversations/find_recipients?search=x", status=403)
