"""A client of another make, canvas-mcp, against the running service: an assistant's tools for the inbox.

It runs as its users run it, a process that speaks on its standard streams. Unlike canvasapi it sends forms with
brackets in their names, follows the pages itself and confirms what it sends.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

from tests.support.institution import Institution
from tests.support.processes import Client, Installation
from tests.support.school import make_school
from tests.support.waiting import PATIENCE

AsUser = Callable[[int], Awaitable[Client]]

START = "from canvas_mcp.server import main; main()"


class Assistant:
    """One user's canvas-mcp."""

    def __init__(self, session: ClientSession) -> None:
        self._session = session

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """What the tool returns; it must not be an error."""
        result = await self._session.call_tool(tool, arguments)
        found: dict[str, Any] | None = result.structured_content
        assert found is not None, result
        assert "error" not in found, found
        return found


@asynccontextmanager
async def assistant(url: str, user_id: int, folder: Path) -> AsyncIterator[Assistant]:
    """canvas-mcp with a user's token; ends with the block."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CANVAS_API_URL": f"{url}/api/v1",
        "CANVAS_API_TOKEN": f"token-of-{user_id}",
        "CANVAS_ALLOW_INSECURE_HTTP": "true",
        "ENABLE_DATA_ANONYMIZATION": "false",
        "FASTMCP_CHECK_FOR_UPDATES": "off",
    }
    server = StdioServerParameters(command=sys.executable, args=["-c", START], env=environment, cwd=folder)
    with (folder / f"assistant-{user_id}.log").open("w") as log:
        async with stdio_client(server, errlog=log) as (read, write), ClientSession(read, write) as session:
            await session.initialize()
            yield Assistant(session)


async def read_by_all(client: Client) -> None:
    """Returns when the user has nothing unread any more, asking over and over as a client would."""
    async with asyncio.timeout(PATIENCE):
        while (await client.call("GET", "/conversations/unread_count"))[1] != {"unread_count": "0"}:
            pass


async def test_an_assistant_sends_and_another_one_reads(
    running: Installation, institution: Institution, as_user: AsUser, tmp_path: Path
) -> None:
    school = await make_school(institution, students=4)
    student = school.students[0]
    await as_user(school.teacher)
    user = await as_user(student)
    await running.api()
    await running.worker()

    async with assistant(running.url, school.teacher, tmp_path) as mine:
        message = {
            "course_identifier": str(school.course),
            "recipient_ids": [str(each) for each in school.students],
            "subject": "Field trip",
            "body": "We meet at nine. Ünïcode & <tags>",
            "group_conversation": True,
            "bulk_message": True,
        }
        preview = await mine.call("send_conversation", **message)
        sent = await mine.call("send_conversation", **message, confirmation_token=preview["confirmation_token"])
        listed = await mine.call("list_conversations", scope="sent", include_all_ids=True)
    assert sorted(made["audience"] for made in sent["conversation"]) == [[each] for each in school.students]
    assert sorted(listed["conversation_ids"]) == sorted(made["id"] for made in sent["conversation"])
    assert (listed["total"], listed["more_available"]) == (4, False)

    async with assistant(running.url, student, tmp_path) as theirs:
        assert (await theirs.call("get_unread_count"))["unread_count"] == "1"
        (received,) = (await theirs.call("list_conversations"))["conversations"]
        details = await theirs.call("get_conversation_details", conversation_id=str(received["id"]))
        (shown,) = details["conversation"]["messages"]
        assert "We meet at nine. Ünïcode & <tags>" in shown["body"]
        assert (await theirs.call("get_unread_count"))["unread_count"] == "1"
        marked = await theirs.call("mark_conversations_read", conversation_ids=[str(received["id"])])
        assert marked["response"]["tag"] == "conversation_batch_update"
        await read_by_all(user)
        assert (await theirs.call("get_unread_count"))["unread_count"] == "0"
