"""The first message as README.md has it: each command of that section, run as it is printed."""

import asyncio
import re
import shlex
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import aiohttp

from service.domain.batch import BatchState
from tests.support.commands import clarion
from tests.support.processes import Client, Installation, environment
from tests.support.school import School

README = Path(__file__).parents[2] / "README.md"
COURSE = "1001"  # of the demo institution, which ./deploy/run makes


def blocks(school: School, language: str) -> str:
    """All of the section that is in that language, for this test's course."""
    _, _, rest = README.read_text("utf-8").partition("## The first message\n")
    found = re.findall(rf"^```{language}\n(.*?)^```$", rest.partition("\n## ")[0], re.MULTILINE | re.DOTALL)
    return "".join(found).replace(COURSE, str(school.course))


def commands(school: School, **variables: str) -> list[list[str]]:
    """The commands of the section as the shell would split them."""
    text = blocks(school, "bash").replace("\\\n", " ")
    for name, value in variables.items():
        text = text.replace(f"${name}", value)
    return [shlex.split(line) for line in text.splitlines()]


async def curl(arguments: list[str]) -> tuple[int, object, str | None]:
    """(status, body, batch id) of a request as curl makes it; any other option is an error."""
    headers: dict[str, str] = {}
    form: list[tuple[str, str]] = []
    url = ""
    words = iter(arguments)
    for word in words:
        if word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word == "-d":
            name, _, value = next(words).partition("=")
            form.append((name, value))
        elif word == "-i":
            continue  # shows the headers
        else:
            assert not word.startswith("-"), word
            url = word
    async with aiohttp.ClientSession(headers=headers) as session:
        method = session.post(url, data=aiohttp.FormData(form)) if form else session.get(url)
        async with method as response:
            return response.status, await response.json(), response.headers.get("X-Conversation-Batch-Id")


async def test_it_is_accepted_followed_and_sent_again_by_the_command(
    running: Installation, school: School, as_user: Callable[[int], Awaitable[Client]]
) -> None:
    running.fresh = True
    await running.api()
    await running.worker()
    teacher = await as_user(school.teacher)
    token = f"token-of-{school.teacher}"
    post, progress, command = commands(school, CLARION_TOKEN=token, CLARION_URL=running.url)

    status, body, batch = await curl(post[1:])
    assert (status, body) == (202, [])
    assert batch is not None
    done = await teacher.sent(batch)
    assert done["delivered"] == 250

    status, body, _ = await curl([word.replace("$BATCH", batch) for word in progress[1:]])
    assert (status, body) == (200, done)

    sent = await clarion(running.settings, *command[1:], fresh=True, CLARION_URL=running.url, CLARION_TOKEN=token)
    assert sent.code == 0
    assert "250 of 250 delivered" in sent.out

    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-c", blocks(school, "python")),
        env=environment(running.settings, CLARION_URL=running.url, CLARION_TOKEN=token),
    )
    assert await program.wait() == 0
    _, (newest, *_), _ = await teacher.call("GET", "/conversations/batches", params={"state[]": list(BatchState)})
    assert newest["total"] == 250
    assert newest["id"] not in (int(batch), int(re.findall(r"batch (\d+) ", sent.out)[0]))
