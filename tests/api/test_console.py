"""The files of the console, as they are served and as they stand in the checkout."""

import hashlib
import re
from pathlib import Path

import aiohttp
import pytest

_CHECKOUT = Path(__file__).parents[2]
_CONSOLE = _CHECKOUT / "service" / "console"
_LISTED = re.compile(r"^\| (\S+) \|.*\| ([0-9a-f]{64}) \|$", re.MULTILINE)
_OWN = sorted(file for file in _CONSOLE.rglob("*") if file.is_file() and "vendor" not in file.parts)
_LOADED = re.compile(r"""(?:from |import |href=|src=|: )"([^"#:]+\.(?:m?js|css|svg))\"""")


async def test_the_page_comes_with_a_policy_that_allows_nothing_but_its_own_files(
    client: aiohttp.ClientSession,
) -> None:
    for path, kind in (("/console", "text/html"), ("/console/main.js", "text/javascript")):
        async with client.get(path) as answer:
            assert (answer.status, answer.content_type) == (200, kind)
            policy = dict(rule.split(" ", 1) for rule in answer.headers["Content-Security-Policy"].split("; "))
            assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
            assert policy["connect-src"] == policy["style-src"] == "'self'"
            assert not re.search("unsafe|http|data:|[*]", answer.headers["Content-Security-Policy"])
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"


async def test_the_only_script_within_the_page_is_the_one_whose_hash_the_policy_has(
    client: aiohttp.ClientSession,
) -> None:
    async with client.get("/console") as answer:
        page, policy = await answer.text(), answer.headers["Content-Security-Policy"]
    within = [text for text in re.findall(r"<script[^>]*>(.*?)</script>", page, re.DOTALL) if text]

    assert len(within) == 1
    assert policy.count("'sha256-") == 1
    assert not re.search(r"<style|\son\w+=|\sstyle=", page)


async def test_everything_that_a_file_asks_for_is_served(client: aiohttp.ClientSession) -> None:
    asked = 0
    for file in _OWN:
        if file.suffix not in (".js", ".html"):
            continue
        for name in _LOADED.findall(file.read_text("utf-8")):
            # An import is relative to its file, all else to the page.
            of_page = name.removeprefix("./").startswith("console/")
            below = name.removeprefix("./") if of_page else (file.parent / name).resolve().relative_to(_CONSOLE.parent)
            async with client.get(f"/{below}") as answer:
                assert answer.status == 200, (file, name)
            asked += 1
    assert asked > len(_OWN)


async def test_a_file_that_has_not_changed_is_not_sent_again(client: aiohttp.ClientSession) -> None:
    async with client.get("/console/main.js") as first:
        assert first.headers["Cache-Control"] == "no-cache"
        known = {"If-None-Match": first.headers["ETag"]}
    async with client.get("/console/main.js", headers=known) as second:
        assert second.status == 304


@pytest.mark.parametrize(
    "path", ["index.html", "none.js", "..%2fapi%2fapp.py", "vendor/preact/LICENSE", "vendor/preact", "%00", "main.js/"]
)
async def test_nothing_else_is_served(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(f"/console/{path}") as answer:
        assert answer.status == 404


async def test_with_a_slash_behind_it_the_address_leads_to_the_page(client: aiohttp.ClientSession) -> None:
    """By a relative address, for a path may stand before it."""
    async with client.get("/console/", allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (302, "../console")


def test_no_other_host_is_named() -> None:
    for file in _OWN:
        text = file.read_text("utf-8").replace('xmlns="http://www.w3.org/2000/svg"', "")
        assert not re.search(r"https?://|[\"'(]//", text), file


@pytest.mark.parametrize("folder", [_CONSOLE / "vendor", _CHECKOUT / "tests" / "road" / "axe"], ids=["vendor", "axe"])
def test_files_of_others_are_unchanged_and_listed_with_their_hashes(folder: Path) -> None:
    found = {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in folder.rglob("*")
        if file.is_file() and file.name != "README.md"
    }

    assert found == dict(_LISTED.findall((folder / "README.md").read_text("utf-8")))
