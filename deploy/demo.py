"""What ``deploy/run`` does in the environment: the service, a demo institution, one bulk message."""

import asyncio
import json
import secrets
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import stamina.instrumentation
from rich.console import Console

from deploy.environment import CHECKOUT, STATE
from deploy.failure import CannotRun
from deploy.lifetime import run_until_stopped
from deploy.locks import alone_here
from deploy.servers import servers
from deploy.stack import Stack
from service.client.http import Client
from service.client.messages import NewMessage, send
from service.client.progress import follow
from sql.verification import Copies, count_copies

_INSTITUTION = CHECKOUT / "deploy" / "demo_institution.py"


@dataclass(frozen=True)
class Facts:
    """What the generated institution says about itself."""

    teacher_id: int
    administrator_id: int
    course_id: int
    students: int


@dataclass(frozen=True)
class Outcome:
    """One bulk send, as the sender and the database saw it."""

    copies: Copies
    seconds: float

    def complaint(self, expected: int) -> str | None:
        """What is wrong with it, in one line."""
        if self.copies.recipients != expected:
            return f"{self.copies.recipients:,} recipients instead of {expected:,}"
        if self.copies.duplicates or self.copies.missing:
            return f"{self.copies.duplicates:,} recipients have duplicates, {self.copies.missing:,} have no copy"
        return None


async def demonstrate(*, once: bool, state: Path = STATE, students: int | None = None) -> int:
    """The send of deploy/run; then serves until cancelled unless ``once``.

    ``students``: how many the demo course has, where they are not to be the usual 10,000.
    """
    console = Console(highlight=False)
    async with servers(state) as found, Stack(state / "runs", found) as stack:
        # Two runs in one checkout share the database; they prepare it one after the other.
        async with alone_here(state / "institution.lock"):
            await stack.clarion("migrate")
            await stack.serve()
            size = () if students is None else ("--students", str(students))
            facts = await _load_institution(stack, console, state / "institution.ndjson", *size)
        users = ("--user", str(facts.teacher_id), "--user", str(facts.administrator_id))
        token, administrator = (await stack.clarion("token", "create", *users, "--name", "demo")).split()
        await stack.while_serving(send_and_check(stack, facts, token, console))
        if not once:
            console.print(invitation(stack.url, facts, token, administrator, stack.logs), soft_wrap=True, markup=False)
            await stack.watch()
    return 0


async def _load_institution(stack: Stack, console: Console, file: Path, *size: str) -> Facts:
    """Generate the institution and load it, which changes nothing the second time."""
    facts = Facts(**json.loads(await stack.python(str(_INSTITUTION), "--facts", *size)))
    console.print("Loading the demo institution")
    await asyncio.to_thread(file.write_text, await stack.python(str(_INSTITUTION), *size), "utf-8")
    loaded = await stack.clarion("directory", "load", str(file))
    console.print(loaded.splitlines()[0], soft_wrap=True)
    return facts


async def send_and_check(stack: Stack, facts: Facts, token: str, console: Console) -> None:
    """One bulk message to all students, with its summary; CannotRun unless each of them has exactly one copy."""
    outcome = await _send(stack, facts, token, console)
    _summarise(outcome, console)
    if complaint := outcome.complaint(facts.students):
        raise CannotRun(f"the bulk send is wrong: {complaint}")


async def _send(stack: Stack, facts: Facts, token: str, console: Console) -> Outcome:
    """One bulk message to all students, followed to its end and counted in the database."""
    message = NewMessage(
        recipients=[f"course_{facts.course_id}_students"],
        subject="Welcome to the course",
        body="The first lecture is on Monday at nine. Please bring the reading list.",
        context_code=f"course_{facts.course_id}",
        group=True,
        bulk=True,
        asynchronous=True,
    )
    console.print(f"Sending one bulk message to the {facts.students:,} students of course {facts.course_id}")
    async with Client(stack.url, token) as client:
        begin = time.monotonic()
        sent = await send(client, message, key=secrets.token_hex(16))
        if sent.batch_id is None:
            raise CannotRun("the service answered the bulk send without a batch")
        last = await follow(client, sent.batch_id, console)
        seconds = time.monotonic() - begin
    if last.state != "sent":
        raise CannotRun(
            f"batch {last.id} ended in state {last.state}: {last.failed:,} failed, {last.skipped:,} skipped"
        )
    conn = await asyncpg.connect(stack.database_url, timeout=10)
    try:
        return Outcome(await count_copies(conn, sent.batch_id), seconds)
    finally:
        await conn.close()


def _summarise(outcome: Outcome, console: Console) -> None:
    copies = outcome.copies
    console.print(
        f"\nrecipients        {copies.recipients:,}"
        f"\nseconds           {outcome.seconds:.2f}"
        f"\nrecipients/s      {copies.recipients / outcome.seconds:,.0f}"
        f"\nduplicates found  {copies.duplicates:,}"
        f"\nmissing found     {copies.missing:,}"
    )


def invitation(url: str, facts: Facts, token: str, administrator: str, logs: Path) -> str:
    """What can be done next. A token stands in a fragment, which no browser sends and no log has."""
    lines = [
        "",
        f"Console  {url}/console#token={token}",
        f"         {url}/console#token={administrator}   (as an administrator, with the page of health)",
        f"API      {url}/api/v1/conversations   (to look at and to try: {url}/docs)",
        f"Health   {url}/readyz   {url}/metrics",
        f"Token    {token}   (user {facts.teacher_id}, teacher of course {facts.course_id})",
        f"Logs     {logs}",
        "",
        "Next: open the console, which shows this send and writes the next one. Or, in another shell:",
        f"  export CLARION_URL={url}",
        f"  export CLARION_TOKEN={token}",
        f"  export PATH={Path(sys.executable).parent}:$PATH",
        f"  clarion send --course {facts.course_id} --subject Hello --body 'See you on Monday.' --bulk --follow",
        "",
        "Serving; Ctrl-C stops everything this script has started.",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    stamina.instrumentation.set_on_retry_hooks(())
    run_until_stopped("run", demonstrate(once="--once" in sys.argv[1:]))
