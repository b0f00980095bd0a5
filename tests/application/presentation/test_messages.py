"""Messages as one viewer sees them (canvas/endpoints.md 3.2)."""

import asyncpg
import pytest

from service.application.presentation.conversations import present
from service.application.presentation.messages import present_messages
from service.application.presentation.profiles import Profile
from service.application.presentation.shapes import Conversation, Message
from service.application.presentation.viewpoint import Viewpoint
from service.domain.forwards import MAX_FORWARDED_DEPTH
from sql.messages import MessageKey, visible_messages
from tests.support.conversations import START, Threads
from tests.support.institution import Institution

BASE = "https://clarion.test"


async def read(conn: asyncpg.Connection, user: int, conversation: int, only: int | None = None) -> Conversation:
    """The conversation with its messages, or with one of them."""
    view = Viewpoint(user_id=user, base_url=BASE, root_account_id=1)
    profile = Profile("all" if only is None else "one", avatars=False, contexts=False, forwarded_authors=True)
    single = {}
    if only is not None:
        (single[conversation],) = await visible_messages(conn, user, [conversation], [only])
    (shown,) = await present(conn, view, [conversation], profile, uuids=False, single_messages=single)
    return shown


async def messages(conn: asyncpg.Connection, user: int, conversation: int, only: int | None = None) -> list[Message]:
    return (await read(conn, user, conversation, only))["messages"]


@pytest.fixture
async def people(institution: Institution) -> list[int]:
    return [await institution.user(name) for name in ("Ann", "Ben", "Cyd", "Dee")]


async def test_all_keys_of_a_plain_message(conn: asyncpg.Connection, threads: Threads, people: list[int]) -> None:
    ann, ben, *_ = people
    made = await threads.private(ann, ben, "<b>Hi</b>\n")

    assert await messages(conn, ben, made) == [
        {
            "id": made,
            "created_at": START,
            "body": "<b>Hi</b>\n",
            "author_id": ann,
            "generated": False,
            "media_comment": None,
            "forwarded_messages": [],
            "attachments": [],
            "participating_user_ids": [ann, ben],
        }
    ]


async def test_newest_first_and_only_what_the_viewer_has(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    ann, ben, cyd, _ = people
    first = await threads.group(ann, [ben, cyd])
    whisper = await threads.reply(first, ben, only=[ann])
    last = await threads.reply(first, cyd)
    await threads.delete_message(first, first, ann)

    assert [m["id"] for m in await messages(conn, ann, first)] == [last, whisper]
    assert [m["id"] for m in await messages(conn, cyd, first)] == [last, first]
    assert [m["id"] for m in await messages(conn, ben, first, only=last)] == [last]


async def test_the_newest_is_the_one_with_the_latest_time_whatever_the_ids_are(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    """Every process gives out ids of blocks of its own."""
    ann, ben, *_ = people
    first = await threads.private(ann, ben)
    later = await threads.reply(first, ann)
    await conn.execute("UPDATE sends SET created_at = created_at + interval '1 day' WHERE body = 'Hello'")

    assert [m["id"] for m in await messages(conn, ben, first)] == [first, later]


async def test_everybody_with_a_row_participates_even_after_deleting(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    ann, ben, cyd, _ = people
    made = await threads.group(ann, [ben, cyd])
    whisper = await threads.reply(made, ben, only=[ann])
    await threads.delete_message(made, whisper, ann)
    await threads.delete_message(made, made, cyd)

    shown = {m["id"]: m["participating_user_ids"] for m in await messages(conn, ben, made)}

    assert shown == {made: [ann, ben, cyd], whisper: [ann, ben]}


async def test_who_joined_later_has_no_earlier_messages(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    ann, ben, cyd, _ = people
    made = await threads.group(ann, [ben, cyd])
    later = await threads.reply(made, ann)
    joined = await conn.fetchval("SELECT max(created_at) FROM sends")
    await threads.update(made, cyd, history_from=joined)

    assert [m["id"] for m in await messages(conn, cyd, made)] == [later]
    shown = {m["id"]: m["participating_user_ids"] for m in await messages(conn, ann, made)}
    assert shown == {made: [ann, ben], later: [ann, ben, cyd]}


async def test_a_generated_message_is_written_when_it_is_read(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    ann, ben, cyd, dee = people
    made = await threads.group(ann, [ben])
    generated = await threads.added(made, ann, [dee, cyd])
    await conn.execute("UPDATE users SET short_name = 'Annie' WHERE id = $1", ann)

    (shown, _) = await messages(conn, ben, made)

    assert shown["id"] == generated
    assert shown["body"] == "Cyd and Dee were added to the conversation by Annie"
    assert (shown["generated"], shown["author_id"]) == (True, ann)


async def test_an_attached_file(
    conn: asyncpg.Connection, institution: Institution, threads: Threads, people: list[int]
) -> None:
    ann, ben, *_ = people
    file = await institution.attachment(ann)
    made = await threads.private(ann, ben, attachments=[file])

    (shown,) = await messages(conn, ben, made)

    (attachment,) = shown["attachments"]
    assert list(attachment) == [
        "id", "uuid", "folder_id", "display_name", "filename", "upload_status", "content-type", "url", "size",
        "created_at", "updated_at", "unlock_at", "locked", "hidden", "lock_at", "hidden_for_user", "thumbnail_url",
        "modified_at", "mime_class", "media_entry_id", "category", "locked_for_user",
    ]  # fmt: skip
    assert attachment["url"] == f"{BASE}/files/{file}/download?download_frd=1&verifier=file-{file}"
    assert (attachment["content-type"], attachment["mime_class"]) == ("text/plain", "text")
    assert attachment["thumbnail_url"] is None


async def test_a_files_own_address_wins_and_a_file_that_was_deleted_since_stays(
    conn: asyncpg.Connection, institution: Institution, threads: Threads, people: list[int]
) -> None:
    ann, ben, *_ = people
    kept = await institution.attachment(ann, url="https://files.test/1")
    deleted = await institution.attachment(ann)
    await conn.execute("UPDATE attachments SET workflow_state = 'deleted' WHERE id = $1", deleted)
    made = await threads.private(ann, ben, attachments=[deleted, kept])

    (shown,) = await messages(conn, ben, made)

    own_address = f"{BASE}/files/{deleted}/download?download_frd=1&verifier=file-{deleted}"
    assert [(a["id"], a["url"]) for a in shown["attachments"]] == [
        (deleted, own_address),
        (kept, "https://files.test/1"),
    ]


@pytest.mark.parametrize(("unlocks", "locks", "locked"), [(-1, 1, False), (1, None, True), (None, -1, True)])
async def test_a_file_is_locked_until_one_time_and_from_another(
    *,
    conn: asyncpg.Connection,
    institution: Institution,
    threads: Threads,
    people: list[int],
    unlocks: int | None,
    locks: int | None,
    locked: bool,
) -> None:
    """In days from now."""
    ann, ben, *_ = people
    file = await institution.attachment(ann)
    await conn.execute(
        "UPDATE attachments SET unlock_at = now() + make_interval(days => $1),"
        " lock_at = now() + make_interval(days => $2)",
        unlocks,
        locks,
    )

    (shown,) = await messages(conn, ben, await threads.private(ann, ben, attachments=[file]))

    assert [attachment["locked_for_user"] for attachment in shown["attachments"]] == [locked]


async def test_a_media_comment(conn: asyncpg.Connection, threads: Threads, people: list[int]) -> None:
    ann, ben, *_ = people
    await conn.execute(
        "INSERT INTO media_objects (media_id, media_type, title, owner_id) VALUES ('m-1', 'audio', 'Song', $1)", ann
    )
    made = await threads.private(ann, ben, media="m-1")

    (shown,) = await messages(conn, ben, made)

    assert shown["media_comment"] == {
        "content-type": "audio/mp4",
        "display_name": "Song",
        "media_id": "m-1",
        "media_type": "audio",
        "url": f"{BASE}/users/{ben}/media_download?entryId=m-1&redirect=1&type=mp4",
    }


class TestForwarding:
    async def test_nests_newest_first_and_shows_its_authors(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int]
    ) -> None:
        ann, ben, cyd, dee = people
        first = await threads.private(ann, ben, "One")
        second = await threads.reply(first, ben, "Two")
        middle = await threads.private(ben, cyd, "See below", forwards=[first, second])
        outer = await threads.private(cyd, dee, "Look", forwards=[middle])

        shown = await read(conn, dee, outer)

        (look,) = shown["messages"]
        (below,) = look["forwarded_messages"]
        assert (below["id"], below["body"]) == (middle, "See below")
        assert [m["id"] for m in below["forwarded_messages"]] == [second, first]
        assert below["participating_user_ids"] == [ben, cyd]
        assert [p["id"] for p in shown["participants"]] == [cyd, dee, ann, ben]
        assert shown["audience"] == [cyd]

    async def test_withholds_the_key_of_another_users_file_and_shows_ones_own(
        self, conn: asyncpg.Connection, institution: Institution, threads: Threads, people: list[int]
    ) -> None:
        ann, ben, cyd, _ = people
        file = await institution.attachment(ann)
        first = await threads.private(ann, ben, attachments=[file])
        outer = await threads.private(ben, cyd, forwards=[first])

        own = await threads.private(ann, cyd, forwards=[first])

        for viewer, conversation, with_key in ((cyd, outer, False), (ben, outer, False), (ann, own, True)):
            (shown,) = await messages(conn, viewer, conversation)
            (attachment,) = shown["forwarded_messages"][0]["attachments"]
            assert ("uuid" in attachment) is with_key

    async def test_ends_where_a_json_encoder_would(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int]
    ) -> None:
        ann, ben, *_ = people
        conversation = newest = await threads.private(ann, ben)
        for _ in range(MAX_FORWARDED_DEPTH + 20):
            newest = await threads.reply(conversation, ann, forwards=[newest])

        (shown,) = await messages(conn, ben, conversation, only=newest)

        depth = 0
        while shown["forwarded_messages"]:
            (shown,) = shown["forwarded_messages"]
            depth += 1
        assert depth == MAX_FORWARDED_DEPTH

    async def test_cannot_be_made_to_explode(
        self, conn: asyncpg.Connection, threads: Threads, people: list[int]
    ) -> None:
        """Two messages that forward two that forward two …: 2^40 of them."""
        ann, ben, *_ = people
        conversation = await threads.private(ann, ben)
        pair = [conversation, await threads.reply(conversation, ann)]
        for _ in range(40):
            pair = [await threads.reply(conversation, ann, forwards=pair) for _ in range(2)]

        (shown,) = await messages(conn, ben, conversation, only=pair[0])

        assert len(shown["forwarded_messages"]) == 2


async def test_a_template_message_belongs_to_no_conversation(
    conn: asyncpg.Connection, threads: Threads, people: list[int]
) -> None:
    ann, ben, *_ = people
    made = await threads.private(ann, ben, "To many")
    send = await conn.fetchval("SELECT send_id FROM conversations WHERE id = $1", made)

    shown = await present_messages(conn, [MessageKey(77, None, send)], viewer_id=ann, base_url=BASE)

    assert [(message["id"], message["body"]) for message in shown] == [(77, "To many")]
    assert shown[0]["participating_user_ids"] == []
