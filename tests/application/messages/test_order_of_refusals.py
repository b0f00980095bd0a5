"""Requests with several faults: the routes that take recipients name the same one first (canvas/endpoints.md 4.2)."""

from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from service.application.messages import add_recipients, create
from service.application.messages.add_recipients import AddRecipients
from service.application.messages.create_request import CreateConversation
from service.application.messages.tag_sets import TagSets
from service.application.messages.work import Work
from service.application.presentation.errors import answer_of
from service.domain.errors import Refusal
from service.runtime.ids import IdBlocks
from service.runtime.settings import Settings
from tests.support.conversations import Threads
from tests.support.institution import Institution
from tests.support.school import School

TAGGED = [{"attribute": "recipients", "message": "differentiation tags cannot share a group conversation"}]
CONCLUDED = [{"attribute": "Course concluded", "message": "Unable to send messages"}]

Refuse = Callable[[list[str], str], Awaitable[object]]


@pytest.fixture(params=["create", "add_recipients"])
async def refuse(
    request: pytest.FixtureRequest, conn: asyncpg.Connection, settings: Settings, school: School, threads: Threads
) -> Refuse:
    """The answer to the teacher's request: its status without a text, else the text."""
    work = Work(settings, IdBlocks(), TagSets(), cause=None)
    conversation = await threads.group(school.teacher, [school.students[0]])

    async def asked(recipients: list[str], context_code: str) -> object:
        adding = AddRecipients(school.teacher, conversation, recipients, context_code)
        creating = CreateConversation(
            author_id=school.teacher,
            body="Hello",
            recipients=recipients,
            context_code=context_code,
            group_conversation=True,
        )
        creates = request.param == "create"
        with pytest.raises(Refusal) as refused:
            await (create.validate(work, conn, creating) if creates else add_recipients.validate(work, conn, adding))
        answer = answer_of(refused.value)
        return answer.body if answer.status == 400 else answer.status

    return asked


async def test_first_whom_it_is_for_then_tags_then_a_concluded_course(
    institution: Institution, school: School, refuse: Refuse
) -> None:
    over = await institution.course(state="completed")
    await institution.enroll(over, school.teacher, "Teacher")
    tag = await institution.group(course=school.course, members=[school.students[1]], tag=True)

    assert await refuse([f"group_{tag}"], "course_77") == 404
    assert await refuse([f"group_{tag}"], f"course_{over}") == TAGGED
    assert await refuse(["nonsense"], f"course_{over}") == CONCLUDED
    assert await refuse([str(school.students[1])], f"course_{over}") == CONCLUDED
