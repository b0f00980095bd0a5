"""Pictures of every page of the console, in both themes and two widths: ``./deploy/screenshots [FOLDER]``."""

import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from playwright.async_api import expect

from deploy.environment import STATE
from deploy.lifetime import run_until_stopped
from deploy.servers import Servers, servers
from service.runtime.settings import Settings
from tests.support.console import NARROW, WIDE, ConsoleEnvironment, Visit, console_environment
from tests.support.databases import fresh_database
from tests.support.ledger import close_ledger, new_prefix
from tests.support.waiting import until

_STUDENTS = 10_000
_PACE = 60_000  # recipients a minute, so that a send takes long enough to be seen
_ENOUGH = 4_000  # of them delivered make a picture of a send on its way
_TEXT = "The first lecture is on Monday at nine. Please bring the reading list."


class Camera:
    """Takes each page in every theme and width, without leaving it."""

    def __init__(self, visit: Visit, folder: Path) -> None:
        self._visit = visit
        self._folder = folder

    async def take(self, name: str) -> None:
        """NAME-THEME-WIDTH.png, the whole page."""
        page = self._visit.page
        for theme in ("light", "dark"):
            for width in (WIDE, NARROW):
                await page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
                await page.set_viewport_size({"width": width, "height": 800})
                # Of the plot's canvas the new size is drawn with the next frame.
                await page.evaluate(
                    "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
                )
                await page.screenshot(path=self._folder / f"{name}-{theme}-{width}.png", full_page=True)
        await page.set_viewport_size({"width": WIDE, "height": 800})


async def take_all(environment: ConsoleEnvironment, folder: Path) -> None:
    """All pages, each with what it is there to show."""
    students = environment.there.school.students
    async with environment.visit() as visit:
        camera = Camera(visit, folder)
        await visit.open()
        await expect(visit.button("Sign in")).to_be_visible()
        await camera.take("sign-in")
        await visit.open(token=environment.token)
        await _end_in_error(environment, visit, students[7])
        await camera.take("batch-failed")
        await environment.there.send(
            environment.there.bulk(
                body="Reminder: the registration for the exam closes on Friday.",
                send_at=(datetime.now(UTC) + timedelta(days=3)).isoformat(),
            )
        )
        async with _sending(environment, visit):
            await camera.take("batch-sending")
            await visit.button("Cancel sending").click()
            await camera.take("question")
            await visit.button("Not now").click()
            await visit.go("#/batches")
            await expect(visit.page.get_by_role("listitem")).to_have_count(3)
            await camera.take("batches")
        await visit.go("#/compose")
        await visit.choose("Biology", re.compile("^Biology"))
        await visit.choose("999999", "999999")
        await visit.message.fill(_TEXT)
        await visit.recipients.fill("User 12")
        await expect(visit.found.nth(3)).to_be_visible()
        await camera.take("search")
        await visit.recipients.fill("")
        await visit.button("Preview").click()
        await expect(visit.heading("Preview")).to_be_visible()
        await camera.take("compose")
        await visit.go("#/health")
        await expect(visit.heading("This gateway")).to_be_visible()
        await camera.take("health")


async def _end_in_error(environment: ConsoleEnvironment, visit: Visit, user_id: int) -> None:
    async with environment.refusing(user_id):
        await visit.send("The seminar moves to room 12.", to="Biology")
        await expect(visit.state("Ended in error")).to_be_visible()
        await expect(visit.heading("1 failed")).to_be_visible()
        await expect(visit.page.get_by_role("img", name="Recipients per second")).to_be_visible()


@asynccontextmanager
async def _sending(environment: ConsoleEnvironment, visit: Visit) -> AsyncIterator[None]:
    """A send stands still on its way while the block runs."""
    await visit.send(_TEXT, to="Biology")
    bar = visit.page.get_by_role("progressbar")

    async def is_far() -> bool:
        return int(await bar.get_attribute("aria-valuenow") or 0) >= _ENOUGH

    await until(is_far)
    environment.worker.signal(signal.SIGSTOP)
    yield
    environment.worker.signal(signal.SIGCONT)


async def main(folder: Path) -> int:
    """Starts all that is needed; CannotRun says what stands in the way."""
    async with (
        servers(STATE) as found,
        _settings(found) as settings,
        console_environment(settings, students=_STUDENTS) as environment,
    ):
        await take_all(environment, folder)
    close_ledger()
    sys.stdout.write(f"The pictures are in {folder}\n")
    return 0


@asynccontextmanager
async def _settings(found: Servers) -> AsyncIterator[Settings]:
    """Of an installation of its own on those servers."""
    os.environ |= found.environment()
    async with fresh_database() as url:
        yield Settings(
            database_url=url,
            amqp_url=found.amqp_url,
            amqp_prefix=new_prefix(),
            port=0,
            drain_delay=0,
            sender_recipients_per_minute=_PACE,
        )


if __name__ == "__main__":
    chosen = Path(sys.argv[1]) if len(sys.argv) > 1 else STATE / "screenshots"
    chosen.mkdir(parents=True, exist_ok=True)
    run_until_stopped("screenshots", main(chosen))
