"""The OpenAPI document against the running service: no fault, and no answer that the document does not know."""

import asyncio
import itertools
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from tests.support.institution import Institution
from tests.support.processes import Client, Installation
from tests.support.school import make_school
from tests.support.waiting import PATIENCE

AsUser = Callable[[int], Awaitable[Client]]

# Canvas takes much that no schema would, so whether something is refused is for other tests; these look at what
# comes back.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)


def with_known_values(document: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """Chance would find no recipient: ``known`` narrows parameters. Routes take JSON and forms by turns."""
    kinds = itertools.cycle(["application/json", "multipart/form-data", "application/x-www-form-urlencoded"])
    operations = chain.from_iterable(each.values() for each in document["paths"].values())
    for body in (operation["requestBody"] for operation in operations if "requestBody" in operation):
        kind = next(kinds)
        body["content"] = {kind: body["content"][kind]}
        properties = body["content"][kind]["schema"]["properties"]
        for name in properties:
            properties[name] |= known.get(name.removesuffix("[]"), {})
    return document


def with_known_ids(ids: dict[str, int]) -> str:
    """schemathesis.toml: operations by name, each with an id that exists."""
    blocks = [
        f"[[operations]]\ninclude-name = {json.dumps(name)}\nparameters = {{ 'path.id' = {id_} }}\n"
        for name, id_ in ids.items()
    ]
    return "\n".join(blocks)


async def schemathesis(url: str, token: str, folder: Path) -> tuple[int, str]:
    """Exit status and output of a run on the document and the configuration in a folder."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "schemathesis.cli", "--config-file", "schemathesis.toml", "run", "openapi.json"),
        *("--url", url, "--header", f"Authorization: Bearer {token}"),
        *("--checks", ",".join(CHECKS), "--exclude-path-regex", "^/(metrics|docs)"),
        *("--exclude-deprecated", "--phases", "coverage,fuzzing", "--max-examples", "5", "--seed", "1", "--no-color"),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(PATIENCE):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return await process.wait(), output.decode()


async def group(client: Client, students: Sequence[str]) -> int:
    """A new conversation of the client's with all of them."""
    sent = {"recipients": students, "body": "Hello", "group_conversation": True}
    status, (conversation,), _ = await client.call("POST", "/conversations", json=sent)
    assert status == 201
    id_: int = conversation["id"]
    return id_


async def test_nothing_undocumented(
    running: Installation, institution: Institution, as_user: AsUser, tmp_path: Path
) -> None:
    """As an administrator of the site, who may do everything."""
    school = await make_school(institution, students=4)
    site = await institution.account(site_admin=True)
    await institution.admin(school.teacher, account=site)
    await running.api()
    await running.worker()
    teacher = await as_user(school.teacher)
    students = [str(student) for student in school.students[:3]]
    lasting = await group(teacher, students)
    bulk = {"recipients": students, "body": "Hi", "group_conversation": True, "bulk_message": True, "mode": "async"}
    _, _, headers = await teacher.call("POST", "/conversations", json=bulk)
    update = {"conversation_ids": [str(lasting)], "event": "star"}
    _, progress, _ = await teacher.call("PUT", "/conversations", json=update)
    _, document, _ = await teacher.call("GET", "/../../openapi.json")
    ids = {
        "GET /api/v1/conversations/{id}": lasting,
        "PUT /api/v1/conversations/{id}": lasting,
        "POST /api/v1/conversations/{id}/add_message": lasting,
        "POST /api/v1/conversations/{id}/add_recipients": lasting,
        "POST /api/v1/conversations/{id}/remove_messages": lasting,
        "DELETE /api/v1/conversations/{id}": await group(teacher, students),
        "DELETE /api/v1/conversations/{id}/delete_for_all": await group(teacher, students),
        "GET /api/v1/conversations/batches/{id}": int(headers["X-Conversation-Batch-Id"]),
        "GET /api/v1/conversations/batches/{id}/events": int(headers["X-Conversation-Batch-Id"]),
        "GET /api/v1/conversations/batches/{id}/recipients": int(headers["X-Conversation-Batch-Id"]),
        "GET /api/v1/progress/{id}": progress["id"],
        "POST /api/v1/progress/{id}/cancel": progress["id"],
    }
    course = f"course_{school.course}"
    known = {
        "recipients": {"items": {"type": "string", "enum": [*students, course]}, "minItems": 1},
        "context_code": {"enum": [course]},
        "body": {"enum": ["Hello", "<b>\u00e9\U0001f44b</b>"]},
        "forwarded_message_ids": {"maxItems": 0},
        "included_messages": {"maxItems": 0},
        "display_from": {"enum": [""]},
    }
    (tmp_path / "openapi.json").write_text(json.dumps(with_known_values(document, known)))
    (tmp_path / "schemathesis.toml").write_text(with_known_ids(ids))

    status, output = await schemathesis(running.url, f"token-of-{school.teacher}", tmp_path)

    assert status == 0, output
