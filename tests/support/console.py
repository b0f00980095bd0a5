"""The console in a real browser, before an installation of real processes."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import aiohttp
import asyncpg
from playwright.async_api import Browser, Locator, Page, expect

from service.runtime.settings import Settings
from tests.support.browser import chromium
from tests.support.fault_environment import FaultEnvironment, client
from tests.support.institution import Institution
from tests.support.processes import Process, installation
from tests.support.school import make_school
from tests.support.waiting import PATIENCE

Theme = Literal["light", "dark"]
WIDE, NARROW = 1100, 360  # pixels
STUDENTS, SEMINAR = 10_000, 40  # in the course Biology; those of them in Chemistry
# A recipient who cannot be written to is given up after a second, and a send has steps to be seen.
SETTINGS: Mapping[str, Any] = {
    "throttle_maximum": 0,
    "retry_after": 0.05,
    "sweep_interval": 0.05,
    "chunk_size": 500,
}

expect.set_options(timeout=PATIENCE * 1000)


@dataclass
class Visit:
    """One tab. ``complaints``: what the browser has said of scripts that failed or were kept from running."""

    page: Page
    base: str
    complaints: list[str] = field(default_factory=list)

    async def open(self, place: str = "", *, token: str | None = None) -> None:
        """The console at that place (``#/compose``), signed in by the fragment where a token is given."""
        await self.page.goto(f"{self.base}/console{'' if token is None else f'#token={token}'}")
        if token is not None:
            await expect(self.button("Sign out")).to_be_visible()
            await self.go(place or "#/batches")

    async def go(self, place: str) -> None:
        """To another page of the console, as by a link."""
        await self.page.evaluate("place => { location.hash = place }", place)

    def button(self, name: str | re.Pattern[str]) -> Locator:
        """By the name that a screen reader says."""
        return self.page.get_by_role("button", name=name)

    def text(self, said: str) -> Locator:
        """On the page, not among what is read out besides."""
        return self.page.get_by_role("main").get_by_text(said)

    def heading(self, name: str | re.Pattern[str]) -> Locator:
        """As above."""
        return self.page.get_by_role("heading", name=name)

    @property
    def recipients(self) -> Locator:
        """The field in which they are searched."""
        return self.page.get_by_role("combobox", name="To", exact=True)

    @property
    def found(self) -> Locator:
        """What the search has found."""
        return self.page.get_by_role("listbox", name="Found").get_by_role("option")

    @property
    def message(self) -> Locator:
        """The field of the text."""
        return self.page.get_by_role("textbox", name="Message", exact=True)

    async def choose(self, search: str, name: str | re.Pattern[str]) -> None:
        """One recipient, found by a search."""
        await self.recipients.fill(search)
        await self.found.filter(has_text=name).first.click()

    async def write(self, body: str, *, to: str = "Chemistry") -> None:
        """A message to everybody in the course, as far as its preview."""
        await self.go("#/compose")
        await self.choose(to, re.compile(f"^{to}"))
        await self.message.fill(body)
        await self.button("Preview").click()

    async def send(self, body: str, *, to: str = "Chemistry") -> str:
        """The same, sent; the id of its batch."""
        await self.write(body, to=to)
        await self.button(re.compile("^(Send to|Schedule for)")).click()
        await self.page.wait_for_url(re.compile(r"#/batches/\d+$"))
        return self.page.url.rpartition("/")[2]

    async def make(self, move: str) -> None:
        """Press the button of a move, and agree."""
        await self.button(move).click()
        await self.page.get_by_role("dialog").get_by_role("button", name=move).click()

    def state(self, name: str) -> Locator:
        """The state beside the heading of a batch."""
        return self.page.locator("main .heading .state", has_text=re.compile(f"^{name}$"))


@dataclass(frozen=True)
class ConsoleEnvironment:
    """``worker``: the only one; it can be held (``held``), so that nothing is delivered meanwhile."""

    there: FaultEnvironment
    browser: Browser
    worker: Process
    token: str

    @asynccontextmanager
    async def visit(
        self, *, theme: Theme = "light", width: int = WIDE, base: str | None = None, **more: Any
    ) -> AsyncIterator[Visit]:
        """A browser without any past opens a tab. ``more``: of the browser, such as its ``timezone_id``."""
        more = {"locale": "en-GB", "timezone_id": "Europe/Vienna", "reduced_motion": "reduce"} | more
        context = await self.browser.new_context(
            color_scheme=theme, viewport={"width": width, "height": 800}, accept_downloads=True, **more
        )
        context.set_default_timeout(PATIENCE * 1000)
        try:
            visit = Visit(await context.new_page(), base or self.there.running.url)
            visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
            visit.page.on("console", lambda said: visit.complaints.append(said.text) if "Policy" in said.text else None)
            yield visit
        finally:
            await context.close()

    @asynccontextmanager
    async def refusing(self, user_id: int) -> AsyncIterator[None]:
        """Meanwhile the database takes nothing for that recipient."""
        async with self.there.look() as conn:
            await conn.execute(
                f"""
                CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'the mailbox is <b>locked</b>'; END $$;
                CREATE TRIGGER refuse BEFORE INSERT ON participants FOR EACH ROW
                    WHEN (NEW.user_id = {user_id}) EXECUTE FUNCTION refuse();
                """
            )
            try:
                yield
            finally:
                await conn.execute("DROP FUNCTION refuse CASCADE")


@asynccontextmanager
async def console_environment(settings: Settings, *, students: int = STUDENTS) -> AsyncIterator[ConsoleEnvironment]:
    """An API, a worker and a browser; the teacher of both courses is an administrator of the account as well."""
    database = str(settings.database_url)
    async with (
        chromium() as browser,
        installation(settings.model_copy(update=dict(SETTINGS))) as running,
        aiohttp.ClientSession() as session,
    ):
        conn = await asyncpg.connect(database)
        institution = Institution(conn)
        await institution.account(name="Root")
        school = await make_school(institution, students)
        seminar = await institution.course("Chemistry")
        await institution.enroll(seminar, school.teacher, "Teacher")
        await institution.enroll(seminar, school.students[:SEMINAR])
        await institution.admin(school.teacher)
        teacher = await client(conn, session, running.url, school.teacher)
        await conn.close()
        _, worker = await asyncio.gather(running.api(), running.worker())
        there = FaultEnvironment(running, school, database, session, teacher)
        yield ConsoleEnvironment(there, browser, worker, f"token-of-{school.teacher}")
