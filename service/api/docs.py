"""GET /docs: the OpenAPI document to look at and to try, without anything from outside."""

from importlib.util import find_spec
from pathlib import Path

from aiohttp import hdrs, web

from service.api.description import Outcome, Tag, describe

_FILES = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
    "start.js": "text/javascript",
}
# Whatever the page may want to load comes from here.
_POLICY = (
    "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self';"
    " frame-ancestors 'none'"
)
_DAY = "max-age=86400"

_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Clarion</title>
<link rel="stylesheet" href="docs/swagger-ui.css">
<link rel="icon" type="image/png" href="docs/favicon-32x32.png">
</head>
<body>
<div id="document"></div>
<script src="docs/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</body>
</html>
"""
_START = """\
SwaggerUIBundle({url: "openapi.json", dom_id: "#document", validatorUrl: null});
"""


def _folder() -> Path:
    """Where the package keeps the viewer's files. It is not imported: its code is for other frameworks."""
    found = find_spec("swagger_ui")
    if found is None or found.origin is None:
        raise RuntimeError("the package swagger-ui-py is not installed")
    return Path(found.origin).parent / "static"


_STATIC = _folder()


@describe("A viewer for this document", {200: Outcome("A page.", str, "text/html")}, tag=Tag.SERVICE)
async def docs(_request: web.Request) -> web.Response:
    """The page; what it loads are the files below."""
    return web.Response(text=_PAGE, content_type="text/html", headers={"Content-Security-Policy": _POLICY})


@describe("A file of the viewer", {200: Outcome("The file.")}, tag=Tag.SERVICE)
async def docs_file(request: web.Request) -> web.StreamResponse:
    """A script, a style sheet or a picture."""
    name = request.path.rpartition("/")[2]
    headers = {hdrs.CONTENT_TYPE: _FILES[name], hdrs.CACHE_CONTROL: _DAY}
    if name == "start.js":
        return web.Response(text=_START, headers=headers)
    return web.FileResponse(_STATIC / name, headers=headers)


@describe("The way to the viewer", {302: Outcome("To /docs.")}, tag=Tag.SERVICE)
async def root(_request: web.Request) -> web.Response:
    """The address itself shows what the service is."""
    return web.Response(status=302, headers={hdrs.LOCATION: "docs"})


routes = [web.get("/", root), web.get("/docs", docs), *(web.get(f"/docs/{name}", docs_file) for name in _FILES)]
