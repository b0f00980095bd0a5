"""Conversations as one viewer sees them (canvas/endpoints.md 3)."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from service.application.presentation.conversations import present
from service.application.presentation.profiles import SHOWN, Profile
from service.application.presentation.shapes import Conversation
from service.application.presentation.viewpoint import Viewpoint
from service.domain.participant import Property
from service.domain.scopes import Scope
from tests.support.conversations import START, Threads
from tests.support.institution import Institution

BASE = "https://clarion.test"
EVERYTHING_BUT_MESSAGES = Profile(context_name=True, forwarded_authors=True)
SILHOUETTE = f"{BASE}/images/messages/avatar-50.png"


def seen_by(user: int) -> Viewpoint:
    return Viewpoint(user_id=user, base_url=BASE, root_account_id=1)


async def look(
    conn: asyncpg.Connection,
    view: Viewpoint | int,
    *conversations: int,
    profile: Profile = EVERYTHING_BUT_MESSAGES,
    uuids: bool = True,
    beta: bool = False,
) -> list[Conversation]:
    """Present with all keys of a conversation, unless said otherwise."""
    view = view if isinstance(view, Viewpoint) else seen_by(view)
    return await present(conn, view, conversations, profile, uuids=uuids, beta=beta)


@pytest.fixture
async def me(institution: Institution) -> int:
    return await institution.user("Mia Miller", short_name="Mia", pronouns="she/her")


@pytest.fixture
async def you(institution: Institution) -> int:
    return await institution.user("Yan Young", avatar_url="/pictures/yan")


async def test_all_keys_of_a_received_conversation(
    conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int, you: int
) -> None:
    course = await institution.course("Biology")
    await institution.enroll(course, me, "Student")
    await institution.enroll(course, you, "Teacher")
    made = await threads.private(you, me, "Hi", subject="Lab", context=("Course", course), tags=[f"course_{course}"])

    (shown,) = await look(conn, me, made, beta=True)

    assert shown == {
        "id": made,
        "subject": "Lab",
        "workflow_state": "unread",
        "last_message": "Hi",
        "last_message_at": START,
        "last_authored_message": None,
        "last_authored_message_at": None,
        "message_count": 1,
        "subscribed": True,
        "private": True,
        "starred": False,
        "properties": [],
        "audience": [you],
        "audience_contexts": {"courses": {str(course): ["TeacherEnrollment"]}, "groups": {}},
        "avatar_url": f"{BASE}/pictures/yan",
        "participants": [
            {
                "id": you,
                "name": "Yan Young",
                "full_name": "Yan Young",
                "pronouns": None,
                "uuid": f"uuid-{you}",
                "common_courses": {str(course): ["TeacherEnrollment"]},
                "common_groups": {},
                "avatar_url": f"{BASE}/pictures/yan",
            },
            {
                "id": me,
                "name": "Mia",
                "full_name": "Mia Miller",
                "pronouns": "she/her",
                "uuid": f"uuid-{me}",
                "common_courses": {},
                "common_groups": {},
                "avatar_url": SILHOUETTE,
            },
        ],
        "visible": True,
        "context_code": f"course_{course}",
        "context_name": "Biology",
        "beta": True,
    }


async def test_what_was_not_asked_for_is_absent(conn: asyncpg.Connection, threads: Threads, me: int, you: int) -> None:
    made = await threads.private(you, me)

    (shown,) = await look(conn, me, made, profile=Profile(avatars=False, contexts=False), uuids=False)

    assert not {"context_name", "beta", "messages"} & shown.keys()
    assert [set(person) for person in shown["participants"]] == [{"id", "name", "full_name", "pronouns"}] * 2


async def test_the_time_of_what_one_wrote_last_is_the_messages_own(
    conn: asyncpg.Connection, threads: Threads, me: int, you: int
) -> None:
    """A reply to some leaves the author's row behind (semantics.md 7.3); without a message there is the row alone."""
    made = await threads.group(me, [you], "First")
    stored = START + timedelta(days=1)
    await threads.reply(made, me, "Only you", only=[you])
    await threads.update(made, me, visible_last_authored_at=stored)

    (shown,) = await look(conn, me, made)
    assert shown["last_authored_message"] == "Only you"
    assert shown["last_authored_message_at"] == await conn.fetchval(
        "SELECT created_at FROM sends WHERE body = 'Only you'"
    )

    await threads.delete(made, me)
    await threads.update(made, me, visible_last_authored_at=stored)
    (shown,) = await look(conn, me, made)
    assert (shown["last_authored_message"], shown["last_authored_message_at"]) == (None, stored)


async def test_the_sender_of_a_new_thread_has_received_nothing(
    conn: asyncpg.Connection, threads: Threads, me: int, you: int
) -> None:
    made = await threads.private(me, you, "First")

    (shown,) = await look(conn, me, made)
    (sent,) = await look(conn, replace(seen_by(me), scope=Scope.SENT), made)

    assert (shown["last_message"], shown["last_message_at"]) == (None, None)
    assert (shown["last_authored_message"], shown["last_authored_message_at"]) == ("First", START)
    assert shown["workflow_state"] == "read"
    assert shown["properties"] == ["last_author"]
    assert (shown["visible"], sent["visible"]) == (False, True)


async def test_who_has_received_nothing_is_the_last_author_of_what_they_wrote(
    conn: asyncpg.Connection, threads: Threads, me: int, you: int
) -> None:
    """Whatever stands there since: what a merge brings in may be newer and moves no time."""
    made = await threads.private(me, you, "Mine")
    await threads.reply(made, you, "Brought in")
    await threads.update(made, me, last_message_at=None)

    (shown,) = await look(conn, me, made)

    assert (shown["last_message"], shown["properties"]) == (None, ["last_author"])


async def test_previews_are_of_the_newest_messages_left(
    conn: asyncpg.Connection, threads: Threads, me: int, you: int
) -> None:
    made = await threads.private(you, me, "One")
    mine = await threads.reply(made, me, "Two")
    theirs = await threads.reply(made, you, "x" * 101)
    await threads.added(made, you, [me])

    async def previews() -> tuple[str | None, str | None, list[Property]]:
        (shown,) = await look(conn, me, made)
        return shown["last_message"], shown["last_authored_message"], shown["properties"]

    assert await previews() == ("x" * 97 + "...", "Two", [])
    await threads.delete_message(made, theirs, me)
    assert await previews() == ("Two", "Two", ["last_author"])
    await threads.delete_message(made, mine, me)
    assert await previews() == ("One", None, [])


async def test_flags_of_the_row_are_properties(
    conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int, you: int
) -> None:
    file = await institution.attachment(me)
    made = await threads.private(me, you, attachments=[file], media="m-1")

    (shown,) = await look(conn, me, made)

    assert shown["properties"] == ["last_author", "attachments", "media_objects"]


async def test_participants_are_ordered_by_their_last_word_and_then_by_name(
    conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int
) -> None:
    zoe, adam, eve, emile = [
        await institution.user(name) for name in ("Zoe", "adam", "Eve", "\N{LATIN CAPITAL LETTER E WITH ACUTE}mile")
    ]
    made = await threads.group(me, [zoe, adam, eve, emile])
    await threads.reply(made, eve)

    (shown,) = await look(conn, me, made)

    assert [person["id"] for person in shown["participants"]] == [eve, me, adam, emile, zoe]
    assert shown["audience"] == [eve, adam, emile, zoe]


async def test_a_monologue_has_no_audience(conn: asyncpg.Connection, threads: Threads, me: int) -> None:
    made = await threads.private(me, me, tags=["course_1"])

    (shown,) = await look(conn, me, made)

    assert shown["audience"] == []
    assert [person["id"] for person in shown["participants"]] == [me]
    assert shown["audience_contexts"] == {"courses": {}, "groups": {}}
    assert shown["avatar_url"] == SILHOUETTE


async def test_more_than_a_hundred_participants_have_no_pictures(
    conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int
) -> None:
    others = await institution.users(100)
    full, fitting = await threads.group(me, others), await threads.group(me, others[:99])

    without, with_pictures = await look(conn, me, full, fitting)

    assert not any("avatar_url" in person for person in without["participants"])
    assert all("avatar_url" in person for person in with_pictures["participants"])
    assert without["avatar_url"] == f"{BASE}/images/messages/avatar-group-50.png"


async def test_a_participant_the_directory_does_not_know_yet_is_still_shown(
    conn: asyncpg.Connection, threads: Threads, me: int
) -> None:
    made = await threads.private(999_999, me)

    (shown,) = await look(conn, me, made)

    assert shown["audience"] == [999_999]
    assert shown["participants"][0]["name"] == shown["participants"][0]["full_name"] == ""


class TestContexts:
    async def test_an_administrator_sees_the_account_in_place_of_a_course(
        self, conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int, you: int
    ) -> None:
        course = await institution.course()
        group = await institution.group(course=course)
        in_course = await threads.private(you, me, context=("Course", course))
        in_group = await threads.private(you, me, context=("Group", group))
        deleted = await institution.admin(me, state="deleted")
        before = [c["context_code"] for c in await look(conn, me, in_course, in_group)]

        await conn.execute("UPDATE account_users SET workflow_state = 'active' WHERE id = $1", deleted)

        assert before == [f"course_{course}", f"group_{group}"]
        shown = await look(conn, me, in_course, in_group)
        assert [c["context_code"] for c in shown] == ["account_1", f"group_{group}"]
        assert [c["context_name"] for c in shown] == [f"Course {course}", f"Group {group}"]

    async def test_without_a_context_the_first_tag_gives_the_name(
        self, conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int, you: int
    ) -> None:
        course = await institution.course("Botany")
        group = await institution.group(name="Gardeners")
        tagged = await threads.private(you, me, tags=[f"group_{group}", f"course_{course}"])
        untagged = await threads.private(you, me)

        shown = await look(conn, me, tagged, untagged, beta=True)

        assert [c["context_name"] for c in shown] == ["Gardeners", None]
        assert [c["context_code"] for c in shown] == [None, None]
        assert [c["beta"] for c in shown] == [False, False]

    async def test_a_context_gives_its_name_whatever_the_tags_are(
        self, conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int, you: int
    ) -> None:
        """Also when the directory does not know the context."""
        tags = [f"course_{await institution.course('Botany')}"]
        in_account = await threads.private(you, me, context=("Account", 1), tags=tags)
        unknown = await threads.private(you, me, context=("Course", 999_999), tags=tags)

        shown = await look(conn, me, in_account, unknown)

        assert [c["context_name"] for c in shown] == ["Root", None]

    async def test_roles_are_given_for_a_single_other_person_only(
        self, conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int, you: int
    ) -> None:
        course, group = await institution.course(), await institution.group(members=[you])
        sections = [await institution.section(course) for _ in range(2)]
        for section in sections:
            await institution.enroll(course, you, "Student", section=section)
        await institution.enroll(course, you, "Ta", state="completed")
        invited = await institution.group()
        await institution.join(invited, you, state="invited")
        tags = [f"course_{course}", f"group_{group}", f"group_{invited}"]
        two = await threads.private(you, me, tags=tags)
        three = await threads.group(you, [me, await institution.user()], tags=tags)

        of_two, of_three = [c["audience_contexts"] for c in await look(conn, me, two, three)]
        (withheld,) = await look(conn, replace(seen_by(me), private_enrollments=False), two)

        assert of_two == {
            "courses": {str(course): ["StudentEnrollment", "StudentEnrollment"]},
            "groups": {str(group): ["Member"], str(invited): []},
        }
        empty: dict[str, Any] = {"courses": {str(course): []}, "groups": {str(group): [], str(invited): []}}
        assert of_three == withheld["audience_contexts"] == empty

    async def test_common_courses_and_groups(
        self, conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int, you: int
    ) -> None:
        shared, theirs = await institution.course(), await institution.course()
        second = await institution.course()
        group = await institution.group(members=[me, you])
        await institution.group(members=[me, you], tag=True)
        for member, other in ((me, you), (you, me)):
            await institution.join(await institution.group(members=[member]), other, state="invited")
        for course in (second, shared):
            await institution.enroll(course, me, "Student")
        for course in (second, shared, theirs):
            await institution.enroll(course, you, "Student")
            await institution.enroll(course, you, "Ta")

        (shown,) = await look(conn, me, await threads.private(me, you))

        mine, yours = shown["participants"]
        assert (mine["common_courses"], mine["common_groups"]) == ({}, {})
        assert list(yours["common_courses"].items()) == [
            (str(shared), ["StudentEnrollment", "TaEnrollment"]),
            (str(second), ["StudentEnrollment", "TaEnrollment"]),
        ]
        assert yours["common_groups"] == {str(group): ["Member"]}

    async def test_authors_of_what_is_forwarded_are_shown_with_what_they_share(
        self, conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int, you: int
    ) -> None:
        """They take no part in the conversation."""
        course, near, far = await institution.course(), *await institution.users(2)
        await institution.enroll(course, [me, near], "Student")
        sources = [await threads.private(author, me) for author in (near, far)]
        made = [await threads.private(me, you, forwards=[source]) for source in sources]

        shown = await look(conn, me, *made, profile=SHOWN)

        common = {person["id"]: person["common_courses"] for one in shown for person in one["participants"]}
        assert common == {me: {}, you: {}, near: {str(course): ["StudentEnrollment"]}, far: {}}

    async def test_someone_limited_to_a_section_sees_that_section(
        self, conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int
    ) -> None:
        course = await institution.course()
        own, other = await institution.section(course), await institution.section(course)
        near, far = await institution.users(2)
        await institution.enroll(course, me, "Ta", section=own, limited=True)
        await institution.enroll(course, near, "Student", section=own)
        await institution.enroll(course, far, "Student", section=other)

        (shown,) = await look(conn, me, await threads.group(me, [near, far]))

        common = {person["id"]: person["common_courses"] for person in shown["participants"]}
        assert common == {me: {}, near: {str(course): ["StudentEnrollment"]}, far: {}}

    async def test_someone_limited_to_some_sections_and_not_in_another_sees_the_whole_course(
        self, conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int
    ) -> None:
        course = await institution.course()
        sections = [await institution.section(course) for _ in range(3)]
        people = await institution.users(3)
        for number, section in enumerate(sections):
            await institution.enroll(course, people[number], "Student", section=section)
        for section in sections[:2]:
            await institution.enroll(course, me, "Ta", section=section, limited=section == sections[0])

        (shown,) = await look(conn, me, await threads.group(me, people))

        common = {person["id"]: person["common_courses"] for person in shown["participants"]}
        assert common == {me: {}, **{id_: {str(course): ["StudentEnrollment"]} for id_ in people}}

    async def test_the_roster_of_an_account_is_a_pseudo_course(
        self, conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int, you: int
    ) -> None:
        below = await institution.account(parent=1)
        await institution.associate([me, you], below)
        made = await threads.private(me, you)
        (before,) = await look(conn, me, made)

        await institution.admin(me)

        assert before["participants"][1]["common_courses"] == {}
        (shown,) = await look(conn, me, made)
        common = [person["common_courses"] for person in shown["participants"]]
        assert common == [{}, {"0": ["FakeEnrollment"]}]


async def test_a_deleted_conversation_keeps_its_people(
    conn: asyncpg.Connection, threads: Threads, me: int, you: int
) -> None:
    made = await threads.private(you, me, tags=["course_1"])
    await threads.reply(made, me)
    await threads.delete(made, me)

    (shown,) = await look(conn, me, made, profile=SHOWN)

    assert (shown["last_message"], shown["last_message_at"]) == (None, None)
    assert (shown["last_authored_message"], shown["last_authored_message_at"]) == (None, None)
    assert (shown["message_count"], shown["properties"], shown["messages"]) == (0, [], [])
    assert shown["audience_contexts"] == {"courses": {}, "groups": {}}
    assert shown["audience"] == [you]
    assert shown["visible"] is False


async def test_mobile_apps_never_meet_a_null_they_cannot_read(
    conn: asyncpg.Connection, threads: Threads, me: int, you: int
) -> None:
    made = [await threads.private(me, you), await threads.private(you, me), await threads.private(me, me)]

    for shown in await look(conn, me, *made):
        values: Mapping[str, object] = shown
        for key in (
            "starred", "avatar_url", "visible", "subscribed", "private", "message_count", "participants", "properties"
        ):  # fmt: skip
            assert values[key] is not None


async def test_ids_the_viewer_has_no_part_in_are_left_out(
    conn: asyncpg.Connection, threads: Threads, me: int, you: int
) -> None:
    foreign, mine = await threads.private(you, you), await threads.private(me, me)

    shown = await look(conn, me, foreign, mine, 12)

    assert [c["id"] for c in shown] == [mine]


async def test_order_is_that_of_the_ids(conn: asyncpg.Connection, threads: Threads, me: int, you: int) -> None:
    made = [await threads.private(you, me) for _ in range(4)]
    mixed = [made[2], made[0], made[3], made[1]]

    assert [c["id"] for c in await look(conn, me, *mixed)] == mixed


async def test_a_newer_touch_does_not_show_as_a_message(
    conn: asyncpg.Connection, threads: Threads, me: int, you: int
) -> None:
    made = await threads.private(you, me)
    await threads.update(made, me, touched_at=START + timedelta(days=1))

    (shown,) = await look(conn, me, made)

    assert shown["last_message_at"] == START


async def test_a_page_costs_the_same_statements_however_large(
    conn: asyncpg.Connection, institution: Institution, threads: Threads, me: int, you: int
) -> None:
    course = await institution.course()
    everybody = await institution.users(100)
    await institution.enroll(course, [me, you, *everybody], "Student")
    small = await threads.private(you, me, tags=[f"course_{course}"])
    large = [small]
    for n in range(99):
        made = await threads.group(you, [me, *everybody[:n]], tags=[f"course_{course}"])
        await threads.reply(made, me)
        large.append(made)

    async def statements(*conversations: int) -> tuple[int, list[Conversation]]:
        asked: list[str] = []
        with conn.query_logger(lambda entry: asked.append(entry.query)):
            shown = await look(conn, me, *conversations, profile=SHOWN)
            await conn.execute("SELECT")  # the log of a statement is written before the next one ends
        return len(asked) - asked.count("SELECT"), shown

    for_one, _ = await statements(small)
    for_all, shown = await statements(*large)

    assert len(shown) == 100
    assert max(len(c["participants"]) for c in shown) == 100
    assert for_all == for_one <= 12
