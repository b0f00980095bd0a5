"""The console as its users meet it: a real browser, a real gateway, a real worker."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from playwright.async_api import Locator, Page, Route, expect

from deploy.failure import CannotRun
from service.runtime.settings import Settings
from tests.support.console import NARROW, SEMINAR, STUDENTS, WIDE, ConsoleEnvironment, Theme, Visit, console_environment
from tests.support.databases import Databases, server_url, with_database
from tests.support.gateway import NOWHERE
from tests.support.institution import Institution
from tests.support.ledger import new_prefix
from tests.support.processes import Installation, installation

AXE = Path(__file__).with_name("axe") / "axe.min.js"
MARKUP = "<b>Hello</b><script>document.title = 'taken'</script><img src=x onerror=\"document.title = 'taken'\">"
VIEWS: tuple[tuple[Theme, int], ...] = (("light", WIDE), ("dark", NARROW))
PREVIEWED = re.compile("^(Send to|Schedule for)")


@pytest.fixture(scope="module")
async def console(databases: Databases) -> AsyncIterator[ConsoleEnvironment]:
    """Shared by the tests of this module, each of which opens a browser window without any past."""
    database = await databases.borrow()
    settings = Settings(
        database_url=with_database(server_url(), database),
        amqp_url=_amqp_url(),
        amqp_prefix=new_prefix(),
        port=0,
        drain_delay=0,
    )
    try:
        async with console_environment(settings) as made:
            yield made
    except CannotRun as error:
        pytest.skip(f"needs Chromium: {error}")
    finally:
        await databases.give_back(database)


def _amqp_url() -> str:
    return Settings(database_url=server_url()).amqp_url


@pytest.fixture
async def visit(console: ConsoleEnvironment) -> AsyncIterator[Visit]:
    """Signed in; at the end no script may have failed, and none been kept from running by the policy."""
    async with console.visit() as made:
        await made.open(token=console.token)
        yield made
        assert made.complaints == []


@pytest.fixture
def held(console: ConsoleEnvironment) -> Iterator[None]:
    """Meanwhile the worker does nothing."""
    console.worker.signal(signal.SIGSTOP)
    yield
    console.worker.signal(signal.SIGCONT)


async def test_a_token_in_the_fragment_signs_in_and_leaves_no_trace(console: ConsoleEnvironment) -> None:
    async with console.visit() as visit:
        await visit.page.goto(f"{visit.base}/console#token={console.token}")
        await expect(visit.heading("Batches")).to_be_focused()

        assert console.token not in visit.page.url
        kept = await visit.page.evaluate(
            "() => JSON.stringify([localStorage, sessionStorage, document.cookie, history])"
        )
        assert console.token not in kept
        assert await visit.page.evaluate("() => history.length") == 2  # the empty tab, and this

        await visit.page.reload()
        await expect(visit.page.get_by_label("Access token")).to_be_focused()


@pytest.mark.parametrize("broken", ["%zz", "abc…"])
async def test_what_can_be_no_token_is_refused_in_words(console: ConsoleEnvironment, broken: str) -> None:
    """Neither the decoding of an address nor the header of a request may fail over it."""
    async with console.visit() as visit:
        await visit.page.goto(f"{visit.base}/console#token={broken}")
        await expect(visit.page.get_by_role("alert")).to_contain_text("The token in the address does not work")
        await visit.page.get_by_label("Access token").fill("abc…")
        await visit.button("Sign in").click()
        await expect(visit.page.get_by_role("alert")).to_contain_text("This token does not work")
        assert visit.complaints == []


async def test_a_wrong_token_is_refused_and_a_revoked_one_is_asked_for_again(console: ConsoleEnvironment) -> None:
    """What was written meanwhile is still there for the same user."""
    there = console.there
    async with console.visit() as visit:
        await visit.open()
        await visit.page.get_by_label("Access token").fill("wrong")
        await visit.button("Sign in").click()
        await expect(visit.page.get_by_role("alert")).to_contain_text("Invalid access token")

        async with there.look() as conn:
            await conn.execute(
                "INSERT INTO access_tokens (token_hash, user_id) VALUES (sha256('other'), $1)", there.school.teacher
            )
        await visit.page.get_by_label("Access token").fill("other")
        await visit.page.keyboard.press("Enter")
        await expect(visit.heading("Batches")).to_be_visible()
        await visit.go("#/compose")
        await visit.message.fill("Not to be lost")
        async with there.look() as conn:
            await conn.execute("UPDATE access_tokens SET revoked_at = now() WHERE token_hash = sha256('other')")
        await visit.go("#/batches")
        await expect(visit.page.get_by_role("alert")).to_contain_text("Revoked access token")

        await visit.page.get_by_label("Access token").fill(console.token)
        await visit.button("Sign in").click()
        await visit.go("#/compose")
        await expect(visit.message).to_have_value("Not to be lost")
        await visit.button("Sign out").click()
        await expect(visit.page.get_by_label("Access token")).to_be_visible()
        await expect(visit.page.get_by_role("alert")).to_have_count(0)


async def test_what_was_written_with_a_token_that_does_not_say_whose_it_is_is_not_shown_to_the_next(
    console: ConsoleEnvironment,
) -> None:
    """Tokens that are limited to some routes may not ask for their user."""
    school = console.there.school
    async with console.there.look() as conn:
        await conn.execute(
            "INSERT INTO access_tokens (token_hash, user_id, scopes)"
            " VALUES (sha256('limited'), $1, $3), (sha256('limited-too'), $2, $3)",
            school.teacher,
            school.students[3],
            ["url:GET|/api/v1/conversations/batches"],
        )
    async with console.visit() as visit:
        await visit.page.goto(f"{visit.base}/console#token=limited")
        await visit.go("#/compose")
        await visit.message.fill("Between us")
        await visit.go("#/batches/1")  # which the token may not
        await expect(visit.page.get_by_role("alert")).to_be_visible()
        await visit.button("Sign out").click()
        await visit.go("#token=limited-too")
        await expect(visit.button("Sign out")).to_be_visible()
        await visit.go("#/compose")
        await expect(visit.message).to_have_value("")


async def test_a_message_is_previewed_sent_to_ten_thousand_and_watched_to_its_end(visit: Visit) -> None:
    """Any change takes the button to send away again; the plot and the CSV are of all recipients."""
    page = visit.page
    await visit.go("#/compose")
    await expect(visit.button("Preview")).to_be_disabled()
    await visit.choose("biol", re.compile("^Biology"))
    await visit.choose("999999", "999999")
    await visit.message.fill("The first lecture is on Monday.")
    await expect(visit.button(PREVIEWED)).to_have_count(0)
    await visit.button("Preview").click()
    await expect(visit.heading("Preview")).to_be_focused()
    await expect(visit.text("999999 is not known")).to_be_visible()
    await expect(visit.button("Send to 10,000 people")).to_be_visible()

    await visit.message.press_sequentially("!")
    await expect(visit.button(PREVIEWED)).to_have_count(0)
    await visit.button("Preview").click()
    await visit.button("Send to 10,000 people").click()

    await expect(visit.state("Sent")).to_be_visible()
    await expect(page.get_by_role("progressbar")).to_have_attribute("aria-valuenow", str(STUDENTS))
    await expect(visit.text("10,000 of 10,000 delivered")).to_be_visible()
    await expect(visit.text("Accepted for 10,000 people.")).to_be_visible()
    await expect(page.get_by_role("img", name=re.compile("Recipients per second"))).to_be_visible()
    async with page.expect_download() as download:
        await visit.button("All recipients as CSV").click()
    file = await (await download.value).path()
    lines = (await asyncio.to_thread(file.read_text)).splitlines()
    assert lines[0].startswith("user_id,state,")
    assert len([line for line in lines if ",delivered," in line]) == STUDENTS

    await visit.go("#/batches")
    await page.get_by_role("link", name="The first lecture is on Monday.!").click()
    await expect(visit.text("10,000 of 10,000 delivered")).to_be_visible()
    await expect(visit.text("Accepted for 10,000 people.")).to_have_count(0)  # said once


async def test_files_are_attached_by_their_numbers(visit: Visit, console: ConsoleEnvironment) -> None:
    """What is not a number is not previewed; a file that is not the sender's is left out."""
    there = console.there
    async with there.look() as conn:
        file = await Institution(conn).attachment(there.school.teacher, name="syllabus.txt")
    attachments = visit.page.get_by_label("Attachments")
    await visit.go("#/compose")
    await visit.choose("Chemistry", re.compile("^Chemistry"))
    await visit.page.get_by_label("Subject").fill(" Reading ")
    await visit.message.fill("The syllabus is here")
    await attachments.fill("syllabus.txt")
    await visit.button("Preview").click()
    assert await attachments.evaluate("field => field === document.activeElement && field.validity.patternMismatch")

    await attachments.fill(f"{file}, {file + 1}")
    await visit.button("Preview").click()
    await visit.button(PREVIEWED).click()
    await expect(visit.state("Sent")).to_be_visible()

    student = await there.client(there.school.students[0])
    _, (newest, *_), _ = await student.call("GET", "/conversations")
    _, shown, _ = await student.call("GET", f"/conversations/{newest['id']}")
    (message,) = shown["messages"]
    assert newest["subject"] == "Reading"
    assert (message["body"], [each["filename"] for each in message["attachments"]]) == (
        "The syllabus is here",
        ["syllabus.txt"],
    )


@pytest.mark.usefixtures("held")
async def test_a_batch_is_paused_resumed_and_cancelled_each_after_a_question(visit: Visit) -> None:
    page = visit.page
    await visit.send("To be cancelled")
    await expect(visit.state("Waiting")).to_be_visible()
    await expect(visit.button("Resume")).to_have_count(0)

    await visit.button("Pause").click()
    await visit.button("Not now").click()
    await expect(visit.button("Pause")).to_be_focused()
    await visit.make("Pause")
    await expect(visit.state("Paused")).to_be_visible()
    await expect(visit.button("Pause")).to_have_count(0)
    await expect(visit.heading(re.compile("^Batch"))).to_be_focused()
    await visit.make("Resume")
    await expect(visit.state("Sending")).to_be_visible()
    await visit.make("Cancel sending")

    await expect(visit.state("Cancelled")).to_be_visible()
    await expect(visit.heading("40 skipped")).to_be_visible()
    await expect(page.get_by_role("row")).to_have_count(11)
    await expect(page.get_by_role("cell", name="The batch was cancelled first").first).to_be_visible()
    await visit.button("Next page").click()
    await expect(visit.text("Page 2")).to_be_visible()
    await visit.button("Next page").click()
    await expect(visit.text("Page 3")).to_be_visible()
    await visit.button("Previous page").click()
    await expect(visit.text("Page 2")).to_be_visible()
    await expect(page.locator(".moves button")).to_have_count(0)


async def test_who_failed_is_shown_with_the_reason_and_tried_again(visit: Visit, console: ConsoleEnvironment) -> None:
    async with console.refusing(console.there.school.students[5]):
        await visit.send("To be tried again")
        await expect(visit.state("Ended in error")).to_be_visible()
        await expect(visit.text(f"Accepted for {SEMINAR} people.")).to_have_count(0)
        await expect(visit.heading("1 failed")).to_be_visible()
        await expect(visit.page.get_by_role("cell", name="the mailbox is <b>locked</b>")).to_be_visible()
        await expect(visit.page.get_by_role("cell", name="User 107")).to_be_visible()

    await visit.make("Retry failed")

    await expect(visit.state("Sent")).to_be_visible()
    await expect(visit.text("Everybody has it.")).to_be_visible()


async def test_a_time_is_meant_in_the_zone_of_the_viewer_and_can_be_changed(console: ConsoleEnvironment) -> None:
    zone = ZoneInfo("Asia/Kolkata")
    at = (datetime.now(zone) + timedelta(days=2)).replace(second=0, microsecond=0)
    later = at + timedelta(days=1)
    async with console.visit(timezone_id=str(zone)) as visit:
        await visit.open("#/compose", token=console.token)
        await visit.page.get_by_label("Send at").fill(at.strftime("%Y-%m-%dT%H:%M"))
        batch = await visit.send("For later")
        await expect(visit.state("Scheduled")).to_be_visible()
        _, body, _ = await console.there.teacher.call("GET", f"/conversations/batches/{batch}")
        assert datetime.fromisoformat(body["send_at"]) == at.astimezone(UTC)

        await visit.button("Change time").click()
        await visit.page.get_by_label("Start at").fill(later.strftime("%Y-%m-%dT%H:%M"))
        await visit.page.get_by_role("dialog").get_by_role("button", name="Change time").click()
        await expect(visit.page.locator("time").filter(has_text=later.strftime("%H:%M")).first).to_be_visible()
        await expect(visit.text("The batch has a new time.")).to_be_visible()
        _, body, _ = await console.there.teacher.call("GET", f"/conversations/batches/{batch}")
        assert datetime.fromisoformat(body["send_at"]) == later.astimezone(UTC)
        await visit.make("Cancel sending")
        await expect(visit.state("Cancelled")).to_be_visible()


async def test_a_year_of_five_digits_is_not_previewed(visit: Visit) -> None:
    """Browsers let one be typed, and JavaScript knows no such date."""
    at = visit.page.get_by_label("Send at")
    await visit.go("#/compose")
    await visit.choose("Chemistry", re.compile("^Chemistry"))
    await visit.message.fill("In the far future")
    await at.evaluate(
        "field => { field.value = '20261-12-31T10:00'; field.dispatchEvent(new Event('input', {bubbles: true})) }"
    )

    await visit.button("Preview").click()

    assert await at.evaluate("field => field === document.activeElement && field.validity.rangeOverflow")


@pytest.mark.parametrize("refused", [False, True])
async def test_what_is_written_while_another_message_is_on_its_way_is_kept(
    visit: Visit, console: ConsoleEnvironment, *, refused: bool
) -> None:
    page = visit.page
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def hold(route: Route) -> None:
        if route.request.method == "POST":
            asked.set()
            await go_on.wait()
        await route.continue_()

    await visit.write("On its way")
    await expect(visit.button(PREVIEWED)).to_be_visible()
    await page.route("**/api/v1/conversations", hold)
    async with console.there.look() as conn:
        if refused:
            await conn.execute("UPDATE courses SET workflow_state = 'completed' WHERE name = 'Chemistry'")
        try:
            async with page.expect_response("**/api/v1/conversations") as answered:
                await visit.button(PREVIEWED).click()
                await asked.wait()
                await visit.go("#/batches")
                await expect(visit.heading("Batches")).to_be_visible()
                await visit.go("#/compose")
                await visit.message.fill("The next one")
                go_on.set()
            await (await answered.value).finished()
        finally:
            await conn.execute("UPDATE courses SET workflow_state = 'available' WHERE name = 'Chemistry'")
    if not refused:
        await page.wait_for_url(re.compile(r"#/batches/\d+$"))
    await visit.go("#/batches")
    await expect(visit.heading("Batches")).to_be_visible()
    await visit.go("#/compose")
    await expect(visit.message).to_have_value("The next one")


async def test_a_preview_of_what_was_changed_meanwhile_is_none(visit: Visit) -> None:
    go_on = asyncio.Event()

    async def hold(route: Route) -> None:
        await go_on.wait()
        await route.continue_()

    await visit.page.route("**/api/v1/conversations", hold)
    await visit.write("As it was")
    await expect(visit.button("Looking…")).to_be_visible()
    await visit.message.fill("As it is")
    go_on.set()

    await expect(visit.button("Preview")).to_be_enabled()
    await expect(visit.button(PREVIEWED)).to_have_count(0)


async def test_a_part_of_a_course_is_written_to_and_about_no_course(visit: Visit) -> None:
    await visit.go("#/compose")
    await visit.choose("Chemistry", re.compile("^Chemistry"))
    await visit.page.get_by_label("Who in Chemistry").select_option("Students")
    await visit.page.get_by_label("About").select_option("No course")
    await visit.message.fill("To students")

    async with visit.page.expect_request("**/api/v1/conversations") as asked:
        await visit.button("Preview").click()
    await expect(visit.button(f"Send to {SEMINAR} people")).to_be_visible()

    request = json.loads((await asked.value).post_data or "")
    assert re.fullmatch(r"course_\d+_students", *request["recipients"])
    assert "context_code" not in request


async def test_a_group_conversation_is_delivered_at_once_and_who_is_rejected_is_named(
    visit: Visit, console: ConsoleEnvironment
) -> None:
    first, second = console.there.school.students[20:22]
    await visit.go("#/compose")
    async with console.there.look() as conn:
        names = [await conn.fetchval("SELECT name FROM users WHERE id = $1", each) for each in (first, second)]
        for name in names:
            await visit.choose(name, re.compile(f"^{name}"))
        await visit.message.fill("In one conversation")
        await visit.page.get_by_label("One group conversation").check()
        await conn.execute("UPDATE users SET workflow_state = 'deleted' WHERE id = $1", second)
        try:
            await visit.button("Preview").click()
            await expect(visit.text(f"{names[1]} was deleted")).to_be_visible()
        finally:
            await conn.execute("UPDATE users SET workflow_state = 'registered' WHERE id = $1", second)
    await visit.button("Preview").click()
    await visit.button("Send to 2 people").click()

    await expect(visit.text("The message is delivered to 2 people.")).to_be_visible()
    await expect(visit.message).to_have_value("")


async def test_a_page_with_a_message_that_is_not_sent_is_not_left_without_a_question(visit: Visit) -> None:
    await visit.go("#/compose")
    await visit.message.press_sequentially("Not sent")
    async with visit.page.expect_event("dialog") as asked:
        await visit.page.close(run_before_unload=True)
    dialog = await asked.value
    assert dialog.type == "beforeunload"
    await dialog.accept()


@pytest.mark.usefixtures("held")
async def test_the_list_has_pages_and_shows_what_is_under_way(visit: Visit, console: ConsoleEnvironment) -> None:
    """One in a thousand that is left shows as 99 %."""
    page = visit.page
    batch = await visit.send("One of many")
    async with console.there.look() as conn:
        await conn.execute(
            "INSERT INTO batches OVERRIDING SYSTEM VALUE SELECT (jsonb_populate_record(b, jsonb_build_object("
            " 'id', 1000000 + i, 'state', 'paused', 'total', 1000, 'delivered', 999))).*"
            " FROM batches b, generate_series(1, 25) i WHERE b.id = $1",
            int(batch),
        )
        try:
            await visit.go("#/batches")
            await page.get_by_label("Show").select_option("Under way")
            rows = page.locator(".batches a")
            for move, first, number in (
                ("Next page", 1_000_015, 2),
                ("Next page", 1_000_005, 3),
                ("Previous page", 1_000_015, 2),
            ):
                await visit.button(move).click()
                await expect(rows.first).to_have_attribute("href", f"#/batches/{first}")
                await expect(visit.text(f"Page {number}")).to_be_visible()
            await rows.first.click()
            await expect(visit.text("99 %")).to_be_visible()
        finally:
            await conn.execute("DELETE FROM batches WHERE id > 1000000")


async def test_a_list_that_does_not_come_is_asked_for_again(visit: Visit) -> None:
    async def busy(route: Route) -> None:
        await route.fulfill(status=503)

    again = visit.page.get_by_role("alert").filter(has_text="Trying again")
    await visit.go("#/compose")
    await visit.page.route("**/api/v1/conversations/batches?*", busy)
    await visit.go("#/batches")
    await expect(again).to_be_visible()
    await visit.page.unroute("**/api/v1/conversations/batches?*")
    await expect(again).to_have_count(0)


async def test_spans_and_beginnings_of_texts_are_whole(visit: Visit) -> None:
    said = await visit.page.evaluate(
        """async () => {
            const {span, opening} = await import("./console/format.js");
            return [...[12, 185, 7800].map(span), opening(String.fromCodePoint(0x1f600).repeat(99), 10)];
        }"""
    )
    assert said == ["12 s", "3 min 5 s", "2 h 10 min", "\N{GRINNING FACE}" * 9 + "…"]


async def test_with_half_a_date_nothing_goes_out(visit: Visit) -> None:
    """Such a field has no value yet, as an empty one, which means now."""
    await visit.write("Not now")
    await expect(visit.button(PREVIEWED)).to_be_visible()
    await visit.page.get_by_label("Send at").focus()
    await visit.page.keyboard.type("01")

    await visit.button(PREVIEWED).click()

    await expect(visit.page.get_by_label("Send at")).to_be_focused()
    await expect(visit.button(PREVIEWED)).to_be_enabled()
    assert visit.page.url.endswith("#/compose")


async def test_a_time_that_is_left_as_it_is_stays_to_the_second(console: ConsoleEnvironment) -> None:
    """Also in the hour that comes twice when summer time ends, of which the browser takes the first."""
    years = (datetime.now(UTC).year + more for more in range(2))
    ends = (datetime(year, 10, 31, 1, 30, 17, tzinfo=UTC) for year in years)
    at = next(at - timedelta(days=at.isoweekday() % 7) for at in ends if at - timedelta(days=7) > datetime.now(UTC))
    there = console.there
    batch = await there.send(there.bulk(send_at=at.isoformat()))
    async with console.visit(timezone_id="Europe/Vienna") as visit:
        await visit.open(f"#/batches/{batch}", token=console.token)
        await visit.make("Change time")
        await expect(visit.text("The batch has a new time.")).to_be_visible()
        _, body, _ = await there.teacher.call("GET", f"/conversations/batches/{batch}")
        assert datetime.fromisoformat(body["send_at"]) == at
        await visit.make("Cancel sending")
        await expect(visit.state("Cancelled")).to_be_visible()


@pytest.mark.usefixtures("held")
async def test_a_lost_connection_is_said_and_what_came_meanwhile_is_seen_on_its_return(
    visit: Visit, console: ConsoleEnvironment
) -> None:
    there = console.there
    batch = await visit.send("Over a bad line")
    await expect(visit.state("Waiting")).to_be_visible()
    lost = visit.page.get_by_role("alert").filter(has_text="The connection is lost")
    await visit.page.context.set_offline(True)
    await expect(lost).to_be_visible()
    status, _, _ = await there.teacher.call("POST", f"/conversations/batches/{batch}/pause")
    assert status == 200
    await visit.page.context.set_offline(False)
    await expect(visit.state("Paused")).to_be_visible()
    await expect(lost).to_have_count(0)

    # Gateway and worker were started at once, and stand in either order.
    gateway = next(each for each in there.running.processes if each is not console.worker)
    there.running.processes.remove(gateway)
    await gateway.stop(signal.SIGKILL)
    await expect(lost).to_be_visible()
    await there.running.api()
    await expect(lost).to_have_count(0)
    await visit.make("Cancel sending")
    await expect(visit.state("Cancelled")).to_be_visible()


async def test_where_a_proxy_cuts_event_streams_the_batch_is_asked_for(visit: Visit) -> None:
    async def cut(route: Route) -> None:
        await route.fulfill(status=502)

    await visit.page.route("**/events", cut)
    await visit.send("Without a stream")

    await expect(visit.state("Sent")).to_be_visible()


@pytest.mark.parametrize("answer", [None, 504])
async def test_what_was_sent_without_an_answer_is_sent_again_and_goes_out_once(
    visit: Visit, console: ConsoleEnvironment, *, answer: int | None
) -> None:
    """Under the key of the message, also when a proxy answers instead."""
    body = f"Once only, {answer}"
    lost = 0

    async def lose(route: Route) -> None:
        nonlocal lost
        if lost or route.request.method != "POST":
            await route.continue_()
            return
        lost += 1
        await route.fetch()
        await (route.abort() if answer is None else route.fulfill(status=answer))

    await visit.write(body)
    await expect(visit.button(PREVIEWED)).to_be_visible()
    await visit.page.route("**/api/v1/conversations", lose)
    await visit.button(PREVIEWED).click()
    await expect(visit.page.get_by_role("alert")).to_contain_text("You can send it again: it goes out once.")
    await visit.button(PREVIEWED).click()
    await expect(visit.state("Sent")).to_be_visible()

    async with console.there.look() as conn:
        assert await conn.fetchval("SELECT count(*) FROM sends WHERE body = $1", body) == 1


async def test_what_was_refused_can_be_sent_once_its_reason_is_gone(visit: Visit, console: ConsoleEnvironment) -> None:
    """Under another key: under the first one it would be refused for a day."""
    await visit.write("After all")
    await expect(visit.button(PREVIEWED)).to_be_visible()
    async with console.there.look() as conn:
        await conn.execute("UPDATE courses SET workflow_state = 'completed' WHERE name = 'Chemistry'")
        try:
            await visit.button(PREVIEWED).click()
            await expect(visit.page.get_by_role("alert")).to_contain_text("It was not sent.")
        finally:
            await conn.execute("UPDATE courses SET workflow_state = 'available' WHERE name = 'Chemistry'")
    await visit.button(PREVIEWED).click()

    await visit.page.wait_for_url(re.compile(r"#/batches/\d+$"))
    await expect(visit.state("Sent")).to_be_visible()


async def test_throttling_that_says_403_is_waited_for(console: ConsoleEnvironment) -> None:
    """Where elsewhere 403 ends it."""
    batch = await console.there.send(console.there.bulk())
    throttled = {"throttle_maximum": 800, "throttle_high_water": 600, "throttle_outflow": 200, "throttle_status": 403}
    async with installation(console.there.running.settings.model_copy(update=throttled)) as other:
        await other.api()
        async with console.visit(base=other.url) as visit:
            await visit.open(token=console.token)
            async with console.there.look() as conn:
                await conn.execute(
                    "UPDATE throttle_buckets SET empties_at = clock_timestamp() + '4 s' WHERE token_hash = sha256($1)",
                    console.token.encode(),
                )
            async with visit.page.expect_response(lambda answer: answer.status == 403):
                await visit.go(f"#/batches/{batch}")
            await expect(visit.state("Sent")).to_be_visible()


async def test_of_a_batch_of_long_ago_it_is_said_that_its_recipients_are_not_kept(
    visit: Visit, console: ConsoleEnvironment
) -> None:
    async with console.refusing(console.there.school.students[7]):
        batch = await visit.send("Long ago")
        await expect(visit.state("Ended in error")).to_be_visible()
    await visit.go("#/batches")
    async with console.there.look() as conn:
        await conn.execute("UPDATE batches SET forgotten_at = now() WHERE id = $1", int(batch))
    await visit.go(f"#/batches/{batch}")

    await expect(visit.text("Who the recipients were is not kept any more.")).to_have_count(2)
    await visit.button("All recipients as CSV").click()
    await expect(visit.text("Who the recipients were is not kept any more.")).to_have_count(3)


async def test_markup_is_shown_as_text_and_no_script_of_a_message_runs(
    visit: Visit, console: ConsoleEnvironment
) -> None:
    """In the list, on the page of the batch, in names and in what is searched."""
    there = console.there
    async with there.look() as conn:
        await conn.execute(
            "UPDATE users SET name = $2, short_name = $2 WHERE id = $1", there.school.students[0], MARKUP
        )
    await visit.go("#/compose")
    await visit.choose("<b>Hello", "<b>Hello</b>")
    await visit.message.fill(MARKUP)
    await visit.button("Preview").click()
    await visit.button("Send to 1 person").click()
    await visit.page.wait_for_url(re.compile(r"#/batches/\d+$"))
    await expect(visit.page.locator("pre.body")).to_have_text(MARKUP)
    await expect(visit.state("Sent")).to_be_visible()
    await visit.go("#/batches")
    await expect(visit.page.get_by_role("link", name="<b>Hello</b><script>")).to_be_visible()
    assert await visit.page.title() == "Batches · Clarion"
    assert await visit.page.locator("main img, main b, main script").count() == 0


async def test_everything_can_be_done_by_the_keyboard_alone(console: ConsoleEnvironment) -> None:
    async with console.visit() as visit:
        keys = visit.page.keyboard
        await visit.open()
        await expect(visit.page.get_by_label("Access token")).to_be_focused()
        await keys.type(console.token)
        await keys.press("Enter")
        await expect(visit.heading("Batches")).to_be_focused()
        await _tab_to(visit.page, "New message")
        await keys.press("Enter")
        await expect(visit.heading("New message")).to_be_focused()
        await _tab_to(visit.page, "To")
        await keys.type("User 15")
        await expect(visit.found.first).to_have_attribute("aria-selected", "true")
        await keys.press("ArrowDown")
        await expect(visit.found.nth(1)).to_have_attribute("aria-selected", "true")
        await keys.press("Enter")
        await expect(visit.page.get_by_role("list", name="Recipients").get_by_role("listitem")).to_have_count(1)
        await _tab_to(visit.page, "Message")
        await keys.type("By the keyboard")
        await _tab_to(visit.page, "Preview")
        await keys.press("Enter")
        await expect(visit.heading("Preview")).to_be_focused()
        await _tab_to(visit.page, "Send to 1 person")
        await keys.press("Enter")
        await expect(visit.heading(re.compile("^Batch"))).to_be_focused()
        await expect(visit.state("Sent")).to_be_visible()


async def _tab_to(page: Page, name: str) -> None:
    """By Tab alone, and no further than once around the page."""
    focused = """() => {
        const it = document.activeElement;
        return it.labels?.[0]?.textContent.trim() || it.getAttribute("aria-label") || it.textContent.trim();
    }"""
    for _ in range(40):
        await page.keyboard.press("Tab")
        if await page.evaluate(focused) == name:
            return
    raise AssertionError(f"Tab does not lead to {name}")


@pytest.mark.usefixtures("held")
async def test_axe_finds_nothing_and_nothing_is_wider_than_a_telephone(console: ConsoleEnvironment) -> None:
    async with console.visit() as visit:
        await visit.open()
        await expect(visit.button("Sign in")).to_be_visible()
        await _examine(visit, "sign-in")
        await visit.open(token=console.token)
        await visit.send("To be looked at")
        await expect(visit.state("Waiting")).to_be_visible()
        await _examine(visit, "batch")
        await visit.button("Cancel sending").click()
        await _examine(visit, "question")
        await visit.page.get_by_role("dialog").get_by_role("button", name="Cancel sending").click()
        await expect(visit.heading("40 skipped")).to_be_visible()
        await _examine(visit, "cancelled batch")
        await visit.go("#/batches")
        await expect(visit.page.get_by_role("link", name="To be looked at").first).to_be_visible()
        await _examine(visit, "batches")
        await visit.go("#/compose")
        await visit.choose("Biology", re.compile("^Biology"))
        await visit.choose("999999", "999999")
        await visit.message.fill("Hello")
        await visit.recipients.fill("User 1")
        await expect(visit.found.first).to_be_visible()
        await _examine(visit, "search")
        await visit.recipients.fill("")
        await visit.button("Preview").click()
        await expect(visit.button(PREVIEWED)).to_be_visible()
        await _examine(visit, "compose")
        await visit.go("#/health")
        await expect(visit.heading("This gateway")).to_be_visible()
        await _examine(visit, "health")
        assert visit.complaints == []


async def _examine(visit: Visit, name: str) -> None:
    """Wide and light, then narrow and dark."""
    page = visit.page
    if not await page.evaluate("() => 'axe' in window"):
        await page.evaluate(AXE.read_text("utf-8"))
    for theme, width in VIEWS:
        await page.emulate_media(color_scheme=theme)
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate("() => document.documentElement.scrollWidth") <= width, name
        found = await page.evaluate("() => axe.run(document, {resultTypes: ['violations']})")
        wrong = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]
        assert wrong == [], (name, width)


async def test_operators_see_health_and_others_are_turned_away(visit: Visit, console: ConsoleEnvironment) -> None:
    await visit.page.get_by_role("link", name="Health").click()
    await expect(visit.text("is in order")).to_be_visible()
    await expect(visit.page.get_by_role("row", name=re.compile("Batches accepted"))).to_be_visible()
    await expect(_row(visit, "Queues and workers", "commands.deliver")).to_have_text(
        re.compile(r"^commands.deliver\d+1$")
    )
    await expect(_row(visit, "Dead letters", "Dead letters")).to_contain_text(re.compile(r"\d$"))
    await expect(_row(visit, "Events and their relay", "The oldest event")).to_be_visible()
    await expect(visit.text("not known")).to_have_count(0)
    await expect(visit.text("No worker for")).to_have_count(0)

    student = console.there.school.students[1]
    await console.there.client(student)
    async with console.visit() as other:
        await other.open("#/health", token=f"token-of-{student}")
        await expect(other.text("This page is for administrators of the account.")).to_be_visible()
        await expect(other.page.get_by_role("link", name="Health")).to_have_count(0)


def _row(visit: Visit, chapter: str, name: str) -> Locator:
    """A row of a chapter of the health page, by how its name begins."""
    card = visit.page.locator("section.card", has=visit.heading(chapter))
    return card.get_by_role("row", name=re.compile(f"^{re.escape(name)}"))


async def test_a_group_that_is_too_large_is_refused_with_the_way_that_takes_any_number(visit: Visit) -> None:
    await visit.go("#/compose")
    await visit.choose("Biology", re.compile("^Biology"))
    await visit.message.fill("To all of you")
    await visit.page.get_by_label("One group conversation").check()
    await visit.button("Preview").click()

    await expect(visit.text("“A new conversation with each” is for any number.")).to_be_visible()


@pytest.mark.usefixtures("held")
async def test_operators_see_what_waits_while_no_worker_works(visit: Visit) -> None:
    await visit.send("To wait for a worker")
    await visit.go("#/health")

    await expect(_row(visit, "What waits, and its age", "Recipients of bulk sends")).to_have_text(
        re.compile(rf"^Recipients of bulk sends{SEMINAR}\d+ s$")
    )
    await expect(visit.text("This gateway is in order")).to_be_visible()
    await expect(visit.text("Standing still: batches that are sending (1)")).to_be_visible()


async def test_operators_see_what_is_not_known_without_a_broker(console: ConsoleEnvironment) -> None:
    """What the database says stands beside it."""
    async with installation(console.there.running.settings) as other:
        other.settings = other.settings.model_copy(update={"amqp_url": NOWHERE})
        gateway = await other.start("api")
        await gateway.logged("api_started")
        async with console.visit(base=other.url) as visit:
            await visit.open("#/health", token=console.token)
            await expect(_row(visit, "Queues and workers", "commands.plan")).to_have_text(
                "commands.plannot knownnot known"
            )
            await expect(_row(visit, "Dead letters", "Dead letters")).to_contain_text("not known")
            await expect(_row(visit, "What waits, and its age", "Batch updates")).to_have_text(
                re.compile("^Batch updates0")
            )
            await expect(visit.text("RabbitMQ cannot be used")).to_be_visible()


async def test_with_figures_on_a_port_of_their_own_the_page_says_so(console: ConsoleEnvironment) -> None:
    async with installation(console.there.running.settings) as other:
        settings = other.settings.model_copy(update={"metrics_port": Installation(other.settings).settings.port})
        other.settings = settings
        await other.api()
        async with console.visit(base=other.url) as visit:
            await visit.open("#/health", token=console.token)
            await expect(visit.text("CLARION_METRICS_PORT")).to_be_visible()


async def test_it_works_behind_any_path(console: ConsoleEnvironment) -> None:
    """A proxy takes the path away; what the page asks for stays below it."""
    below = f"{console.there.running.url}/mail/clarion"
    outside: list[str] = []

    async def pass_on(route: Route) -> None:
        await route.continue_(url=route.request.url.replace("/mail/clarion", "", 1))

    async with console.visit(base=below) as visit:
        visit.page.on("request", lambda sent: outside.append(sent.url) if not sent.url.startswith(below) else None)
        await visit.page.route("**/mail/clarion/**", pass_on)
        await visit.open(token=console.token)
        batch = await visit.send("Below a path")
        await expect(visit.state("Sent")).to_be_visible()
        await visit.page.get_by_role("link", name="Batches").click()
        await expect(visit.page.locator(f"a[href='#/batches/{batch}']")).to_be_visible()
    assert [url for url in outside if not url.startswith("blob:")] == []
