"""GET /console: the page for senders and operators, whose files stand in service/console (CONTRACT 3.4)."""

import base64
import hashlib
import re
from pathlib import Path

from aiohttp import hdrs, web

from service.api.description import Outcome, Tag, describe
from service.domain.errors import Code, Refusal

_FOLDER = Path(__file__).parents[1] / "console"
_TYPES = {".css": "text/css", ".js": "text/javascript", ".mjs": "text/javascript", ".svg": "image/svg+xml"}
_PAGE = "index.html"
# What can be asked for, by its path below /console: nothing else of the machine's files is ever opened.
_FILES = {file.relative_to(_FOLDER).as_posix(): file for file in sorted(_FOLDER.rglob("*")) if file.suffix in _TYPES}
_IMPORT_MAP = re.compile(r'<script type="importmap">(.*?)</script>', re.DOTALL)


def _policy(page: str) -> str:
    """Everything comes from here; of what stands in the page itself only the import map counts, known by its hash."""
    (import_map,) = _IMPORT_MAP.findall(page)
    digest = base64.b64encode(hashlib.sha256(import_map.encode()).digest()).decode()
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src 'self' 'sha256-{digest}'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


_HTML = (_FOLDER / _PAGE).read_text("utf-8")
# Another release's files must not meet this one's page: each is asked for again, and mostly answered with 304.
_HEADERS = {
    hdrs.CACHE_CONTROL: "no-cache",
    "Content-Security-Policy": _policy(_HTML),
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@describe("The console", {200: Outcome("A page for senders and operators.", str, "text/html")}, tag=Tag.SERVICE)
async def console(_request: web.Request) -> web.Response:
    """The page; it asks for all else by addresses relative to its own, so that any path may stand before them."""
    return web.Response(text=_HTML, content_type="text/html", headers=_HEADERS)


@describe("The way to the console", {302: Outcome("To /console.")}, tag=Tag.SERVICE, published=False)
async def console_folder(_request: web.Request) -> web.Response:
    """Below the address with a slash the page's relative addresses would lead nowhere."""
    return web.Response(status=302, headers={hdrs.LOCATION: "../console"})


@describe("A file of the console", {200: Outcome("The file.")}, tag=Tag.SERVICE, published=False)
async def console_file(request: web.Request) -> web.StreamResponse:
    """A script, a style sheet or a picture; Refusal(NOT_FOUND) for what is none of them."""
    file = _FILES.get(request.match_info["file"])
    if file is None:
        raise Refusal(Code.NOT_FOUND)
    return web.FileResponse(file, headers={**_HEADERS, hdrs.CONTENT_TYPE: f"{_TYPES[file.suffix]}; charset=utf-8"})


routes = [
    web.get("/console", console),
    web.get("/console/", console_folder),
    web.get("/console/{file:.+}", console_file),
]
