"""``clarion token``: access tokens for the HTTP API."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import orjson
import typer

from service.cli.failure import Failed
from service.cli.stdin import STDIN, standard_input
from service.cli.table import aligned, printable
from service.contracts.directory_bodies import local_id
from service.domain.ids import parse_id
from service.domain.tokens import hash_token, is_scope, new_token
from service.domain.user_forms import UserForm, parse_user_form
from service.runtime import settings as configuration
from service.runtime.postgres import connected
from service.runtime.settings import DatabaseSettings
from sql import tokens
from sql.connection import Connection
from sql.masquerade import find_masquerade_target
from sql.tokens import TokenRow

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Create, list and revoke access tokens.")

_FORMS = "an id, sis_user_id:X, sis_login_id:X or uuid:X"
_COLUMNS = ("ID", "USER", "USER'S NAME", "NAME", "MADE", "EXPIRES", "LAST USED", "REVOKED")

_Answer = TypeVar("_Answer")


def _user(text: str) -> UserForm:
    if ":" in text:
        form = parse_user_form(text, None)
        if form is None:
            raise typer.BadParameter(f"names no user; it is {_FORMS}")
        return form
    try:
        return UserForm(local_id(text))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _expiry(text: str) -> datetime:
    """ISO 8601; without an offset UTC, a date alone is its midnight (canvas/conventions.md 6)."""
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise typer.BadParameter("not an ISO 8601 time") from None


def _scope(text: str) -> str:
    if not is_scope(text):
        raise typer.BadParameter("a scope has the form url:GET|/api/v1/conversations/:id")
    return text


def _text(text: str) -> str:
    if not text.isprintable():
        raise typer.BadParameter("not printable text")
    return text


@app.command("create")
def create(
    users: Annotated[
        list[UserForm], typer.Option("--user", parser=_user, metavar="ID", help=f"Whose token: {_FORMS}; repeatable.")
    ],
    name: Annotated[str | None, typer.Option(parser=_text, metavar="TEXT", help="What it is for.")] = None,
    expires: Annotated[
        datetime | None, typer.Option(parser=_expiry, metavar="ISO8601", help="When it stops working.")
    ] = None,
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", parser=_scope, metavar="SCOPE", help="The only routes it opens; repeatable."),
    ] = None,
) -> None:
    """Print one new token a line, in the order of the users. A user named by id need not be in the directory yet."""
    made = [new_token() for _ in users]
    hashes = [hash_token(token) for token in made]

    async def work(conn: Connection) -> bool:
        ids = [await _id_of(conn, user) for user in users]
        return await tokens.create_tokens(conn, hashes, ids, name=name, scopes=scopes or None, expires_at=expires)

    if not _run(work):
        raise Failed("--expires is in the past")
    typer.echo("\n".join(made))


async def _id_of(conn: Connection, user: UserForm) -> int:
    if user.user_id is not None:
        return user.user_id
    found = await find_masquerade_target(conn, **user._asdict())
    if found is None:
        raise Failed(f"there is no user {user.sis_id or user.login or user.uuid} in the directory")
    return found.user_id


@app.command("list")
def list_tokens(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for machines.")] = False,
) -> None:
    """Every token by its id, with its user and its times, the oldest first; the tokens themselves are not kept.

    When a token was last used is known to the minute.
    """
    found = _run(tokens.list_tokens)
    if as_json:
        sys.stdout.flush()
        sys.stdout.buffer.writelines(orjson.dumps(row._asdict()) + b"\n" for row in found)
        return
    for line in aligned([_COLUMNS, *map(_cells, found)]):
        typer.echo(line)


def _cells(row: TokenRow) -> tuple[str, ...]:
    times = (row.created_at, row.expires_at, row.last_used_at, row.revoked_at)
    return (str(row.id), str(row.user_id), *map(printable, _names(row)), *map(_moment, times))


def _names(row: TokenRow) -> tuple[str, str]:
    return row.user_name or "-", row.name or "-"


def _moment(moment: datetime | None) -> str:
    return "-" if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


@app.command("revoke")
def revoke(
    token: Annotated[
        str, typer.Argument(help="The token, its id as clarion token list shows it, or - for a token on stdin.")
    ],
) -> None:
    """Make a token useless, for good."""
    if token == STDIN:
        token, token_id = standard_input().readline().strip(), None
    else:
        token_id = parse_id(token)
    if not _run(lambda conn: tokens.revoke_token(conn, hash_token(token), token_id)):
        raise Failed("there is no such token")


def _run(work: Callable[[Connection], Awaitable[_Answer]]) -> _Answer:
    settings = configuration.load_part(DatabaseSettings)

    async def run() -> _Answer:
        async with connected(settings) as conn:
            return await work(conn)

    return asyncio.run(run())
