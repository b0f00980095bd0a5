"""``clarion token``: access tokens for the HTTP API."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, TypeVar

import typer

from service.cli.failure import Failed
from service.contracts.directory_bodies import local_id
from service.domain.tokens import hash_token, is_scope, new_token
from service.runtime import settings as configuration
from service.runtime.postgres import connected
from sql import tokens
from sql.connection import Connection

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Create and revoke access tokens.")

_Answer = TypeVar("_Answer")


def _user(text: str) -> int:
    try:
        return local_id(text)
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
    users: Annotated[list[int], typer.Option("--user", parser=_user, metavar="ID", help="Whose token; repeatable.")],
    name: Annotated[str | None, typer.Option(parser=_text, metavar="TEXT", help="What it is for.")] = None,
    expires: Annotated[
        datetime | None, typer.Option(parser=_expiry, metavar="ISO8601", help="When it stops working.")
    ] = None,
    scopes: Annotated[
        list[str] | None,
        typer.Option("--scope", parser=_scope, metavar="SCOPE", help="The only routes it opens; repeatable."),
    ] = None,
) -> None:
    """Print one new token a line, in the order of the users. A user need not be in the directory yet."""
    made = [new_token() for _ in users]
    hashes = [hash_token(token) for token in made]
    _run(lambda conn: tokens.create_tokens(conn, hashes, users, name=name, scopes=scopes or None, expires_at=expires))
    typer.echo("\n".join(made))


@app.command("revoke")
def revoke(token: Annotated[str, typer.Argument(help="The token, as it was printed.")]) -> None:
    """Make a token useless, for good."""
    if not _run(lambda conn: tokens.revoke_token(conn, hash_token(token))):
        raise Failed("there is no such token")


def _run(work: Callable[[Connection], Awaitable[_Answer]]) -> _Answer:
    settings = configuration.load()

    async def run() -> _Answer:
        async with connected(settings) as conn:
            return await work(conn)

    return asyncio.run(run())
