"""GET /users/self: who the caller is."""

from aiohttp import web

from service.api.authentication import caller
from service.api.description import Outcome, Tag, describe
from service.api.origin import base_url
from service.api.reading import reading
from service.api.responses import respond
from service.application.presentation.shapes import User
from service.application.presentation.user import present_user
from service.domain.avatars import Avatars
from sql.people import own_user


@describe(
    "Show the caller",
    {200: Outcome("What the directory knows of the caller.", User)},
    text="With `as_user_id`, the user for whom the caller acts.",
    tag=Tag.USERS,
)
async def show_self(request: web.Request) -> web.Response:
    """A caller who is not (yet) in the directory has an id and empty names."""
    async with reading(request) as conn:
        found = await own_user(conn, caller(request).user_id)
    return respond(request, present_user(found, Avatars(base_url(request))))


routes = [web.get("/api/v1/users/self", show_self)]
