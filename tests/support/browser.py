"""Debian's Chromium, driven by Playwright, which brings no browser of its own here."""

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, async_playwright

from deploy.failure import CannotRun
from tests.support.waiting import PATIENCE

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# It speaks to nothing but the page that is tested.
_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def _binary() -> Path | None:
    found = (shutil.which(name) for name in _NAMES)
    return next((Path(path) for path in found if path), None)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A running browser without any past; CannotRun where there is none (deploy/packages.py, OF_TESTS)."""
    binary = _binary()
    if binary is None:
        raise CannotRun("Chromium is not here (Debian: chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=binary, args=_ARGUMENTS, env=dict(os.environ), timeout=PATIENCE * 1000
        )
        try:
            yield browser
        finally:
            await browser.close()
