"""GET /openapi.json: the routes in OpenAPI 3.1, from the models that validate and what the routes say of themselves."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from http import HTTPStatus
from importlib.metadata import version
from typing import Any

from aiohttp import web
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from service.api.description import Description, Outcome, Tag, describe, description_of
from service.api.examples import Example, named, recorded
from service.api.idempotency_keys import HEADER, METHODS
from service.api.origin import base_url
from service.api.parameter_schemas import body_content, path_parameters, query_parameters
from service.api.responses import respond
from service.api.throttle import TEXTS
from service.application.idempotency_keys import NOT_KEPT
from service.application.presentation.error_shapes import SHAPES, Errors
from service.application.presentation.errors import answer_of, fault, unavailable
from service.contracts.requests import REPLAYED
from service.domain.errors import Code, Refusal, invalid, unreadable
from service.domain.idempotency_keys import ATTRIBUTE, MAX_LENGTH
from service.runtime.settings import Settings

_API = "/api/"
_CONVERSATIONS = "/api/v1/conversations"
_REF = "#/components/schemas/{model}"

# Any route under /api/ may answer with these.
_EVERYWHERE = (
    Code.BAD_REQUEST,
    Code.TOO_LARGE,
    Code.UNSUPPORTED_ENCODING,
    Code.UNAUTHENTICATED,
    Code.BAD_TOKEN,
    Code.INSUFFICIENT_SCOPE,
    Code.BAD_AS_USER,
)
# Any of those that take an idempotency key, may answer with these as well.
_WITH_KEY = (Code.INVALID_ATTRIBUTE, Code.KEY_IN_USE, Code.KEY_REUSED)

# Refusals that say more than their code does, as the service words them.
_SAMPLES = {
    refusal.code: refusal
    for refusal in (
        invalid("recipients", "blank"),
        Refusal(Code.INVALID_RECORD, "too_long", attribute="subject", kind="too_long"),
        Refusal(Code.INVALID_BATCH_UPDATE, "conversation_ids not specified"),
        Refusal(Code.REPLY_REFUSED, "Course concluded, unable to send messages", attribute="workflow_state"),
        Refusal(Code.INVALID_PAGE, "Invalid page; please restart iteration and follow `next` links"),
        Refusal(Code.CONFLICT, "is sent", attribute="state"),
        unreadable("The JSON body is malformed."),
        Refusal(Code.UNPROCESSABLE, "too long", details={"field": "body", "error_code": "too_long"}),
        Refusal(Code.KEY_IN_USE, attribute=ATTRIBUTE),
        Refusal(Code.KEY_REUSED, attribute=ATTRIBUTE),
    )
}

_ABOUT = """\
The Conversations API of Canvas, and what Clarion adds to it.

Parameters may be sent in the query, as a form or as JSON; an array is `name[]` in the first two. Lists are cut into
pages: follow the `Link` header. Every path also takes the suffix `.json`, and HEAD wherever there is GET.
"""

_BEARER = """\
An access token of this service or, where the institution's sign-in is set up, a JWT of its issuer for this audience,
signed with RS256, PS256, ES256 or EdDSA. Those of its `scope` that begin with `url:` limit the routes.
"""

_HEADERS: dict[str, Any] = {
    "X-Request-Context-Id": {
        "description": "The id of this request, as in the logs.",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    },
    "X-Request-Cost": {
        "description": "Seconds of CPU and database time that this request took from the quota.",
        "schema": {"type": "number", "minimum": 0},
    },
    "X-Rate-Limit-Remaining": {
        "description": "What is left of the token's quota. It refills with time.",
        "schema": {"type": "number", "minimum": 0},
    },
    "Link": {
        "description": "The pages around this one, each with its rel: current, next, prev, first, last.",
        "schema": {"type": "string"},
    },
    "X-Conversation-Batch-Id": {
        "description": "The batch that was accepted.",
        "schema": {"type": "integer", "format": "int64"},
    },
    "Retry-After": {
        "description": "Seconds after which it may be tried again.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"description": "How to say who asks.", "schema": {"type": "string"}},
    REPLAYED: {
        "description": "The request was carried out before, and this is the answer that it had.",
        "schema": {"type": "string", "const": "true"},
    },
}
_KEY: dict[str, Any] = {
    "name": HEADER,
    "in": "header",
    "description": "Of your choice, also in double quotes. What is sent again under it within 24 hours is not done "
    "again, and has the first answer. Another request under it is refused.",
    "schema": {"type": "string", "minLength": 1, "maxLength": MAX_LENGTH},
}


class Document:
    """The document of one installation; made when it is first asked for."""

    def __init__(self, settings: Settings, routes: Iterable[web.RouteDef]) -> None:
        self._settings = settings
        described = ((route, description_of(route.handler)) for route in routes)
        self._routes = [(route, found) for route, found in described if found is not None and found.published]

    @cached_property
    def content(self) -> dict[str, Any]:
        """The OpenAPI object."""
        adapters = {shape: TypeAdapter(shape) for shape in self._shapes()}
        inputs: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
            (repr(shape), "serialization", adapter) for shape, adapter in adapters.items()
        ]
        schemas, shared = TypeAdapter.json_schemas(inputs, ref_template=_REF)
        named = {shape: schemas[(repr(shape), "serialization")] for shape in adapters}
        paths: defaultdict[str, dict[str, Any]] = defaultdict(dict)
        for route, found in self._routes:
            paths[route.path][route.method.lower()] = _Operation(self._settings, route, found, named).content()
        return {
            "openapi": "3.1.0",
            "info": {"title": "Clarion", "version": version("clarion"), "description": _ABOUT},
            "tags": [{"name": tag.value} for tag in Tag],
            "paths": dict(paths),
            "components": {
                "schemas": shared.get("$defs", {}),
                "headers": _HEADERS,
                "securitySchemes": {
                    "token": {"type": "http", "scheme": "bearer", "description": _BEARER},
                    "access_token": {
                        "type": "apiKey",
                        "in": "query",
                        "name": "access_token",
                        "description": "As with `Authorization: Bearer`, which wins where both are sent.",
                    },
                },
            },
        }

    def _shapes(self) -> list[Any]:
        bodies = [outcome.body for _, found in self._routes for outcome in found.outcomes.values()]
        return list({repr(shape): shape for shape in [*bodies, *SHAPES.values()] if shape is not None}.values())


DOCUMENT = web.AppKey("document", Document)


class _Operation:
    """One route in the document."""

    def __init__(
        self, settings: Settings, route: web.RouteDef, described: Description, schemas: Mapping[Any, Any]
    ) -> None:
        self._settings = settings
        self._route = route
        self._described = described
        self._schemas = schemas
        self._in_api = route.path.startswith(_API)
        self._takes_key = self._in_api and route.method in METHODS
        self._examples = recorded().get(operation_id(route), ())

    def content(self) -> dict[str, Any]:
        """The operation object."""
        said = self._described
        made: dict[str, Any] = {
            "operationId": operation_id(self._route),
            "summary": said.summary,
            "tags": [said.tag.value],
            "responses": self._responses(),
        }
        if said.text:
            made["description"] = said.text
        if said.deprecated:
            made["deprecated"] = True
        if self._in_api:
            made["security"] = [{"token": []}, {"access_token": []}]
        return made | self._parameters()

    def _parameters(self) -> dict[str, Any]:
        said, found = self._described, path_parameters(self._route.path)
        if found and self._examples:
            found[0]["example"] = self._examples[0].path_id
        made: dict[str, Any] = {}
        if self._route.method in METHODS:
            if said.parameters is not None:
                content = body_content(said.parameters, said.required)
                for media_type in content:
                    of_json = media_type == "application/json"
                    content[media_type] |= self._shown(
                        self._examples, (lambda each: each.parameters) if of_json else Example.flat
                    )
                made["requestBody"] = {"content": content, "required": bool(said.required)}
            found += query_parameters(None, masquerade=self._in_api)
            found += [_KEY] if self._takes_key else []
        else:
            asked = query_parameters(said.parameters, said.required, masquerade=self._in_api)
            sent: dict[str, Any] = {}
            for example in reversed(self._examples):
                sent |= example.flat()
            found += [each | {"example": sent[each["name"]]} if each["name"] in sent else each for each in asked]
        return made | ({"parameters": found} if found else {})

    def _responses(self) -> dict[str, Any]:
        made = {str(status): self._outcome(status, outcome) for status, outcome in self._described.outcomes.items()}
        if self._in_api:
            for status, codes in self._refused().items():
                made[str(status)] = self._refusal(status, codes)
            made |= self._throttled(made)
            made["500"] = self._failure(fault(571_093_004_211).body)
            made["503"] = self._failure(unavailable().body, *unavailable().headers)
        return dict(sorted(made.items()))

    @staticmethod
    def _shown(examples: Sequence[Example], value: Callable[[Example], Any]) -> dict[str, Any]:
        return {"examples": named(examples, value)} if examples else {}

    def _outcome(self, status: int, outcome: Outcome) -> dict[str, Any]:
        headers = self._headers(*outcome.headers, *self._repeated(status))
        made: dict[str, Any] = {"description": outcome.text, "headers": headers}
        if self._described.paginated:
            made["headers"] |= _header_refs("Link")
        if outcome.body is not None:
            answered = [example for example in self._examples if example.status == status]
            shown = self._shown(answered, lambda example: example.answer)
            made["content"] = {outcome.media_type: {"schema": self._schemas[outcome.body]} | shown}
            for media_type, example in outcome.texts.items():
                made["content"][media_type] = {"schema": {"type": "string"}, "example": example}
        return made

    def _refused(self) -> dict[int, list[Code]]:
        said = self._described
        codes = [*_EVERYWHERE, *said.refusals, *(_WITH_KEY if self._takes_key else ())]
        if said.parameters is not None:
            codes.append(Code.INVALID_ATTRIBUTE)  # a list that is too long
        if "{" in self._route.path or said.paginated:
            codes.append(Code.NOT_FOUND)
        if self._route.path.startswith(_CONVERSATIONS):
            codes.append(Code.NOT_AUTHORISED)  # the fake student
        found: defaultdict[int, list[Code]] = defaultdict(list)
        for code in dict.fromkeys(codes):
            found[answer_of(Refusal(code)).status].append(code)
        return found

    def _refusal(self, status: int, codes: Sequence[Code]) -> dict[str, Any]:
        answers = [answer_of(_SAMPLES.get(code, Refusal(code))) for code in codes]
        shown = {code.value: {"value": answer.body} for code, answer in zip(codes, answers, strict=True)}
        shapes = list({repr(SHAPES[code]): self._schemas[SHAPES[code]] for code in codes}.values())
        challenge = ["WWW-Authenticate"] if any(answer.headers for answer in answers) else []
        return {
            "description": "Refused: " + ", ".join(sorted(code.value.replace("_", " ") for code in codes)) + ".",
            "headers": self._headers(*challenge, *self._repeated(status)),
            "content": {
                "application/json": {
                    "schema": shapes[0] if len(shapes) == 1 else {"anyOf": shapes},
                    "examples": shown,
                }
            },
        }

    def _throttled(self, made: Mapping[str, Any]) -> dict[str, Any]:
        """Text, under a status that may have JSON too."""
        if self._settings.throttle_maximum == 0:
            return {}
        status = str(self._settings.throttle_status)
        again = ("Retry-After",) if HTTPStatus(self._settings.throttle_status) is HTTPStatus.TOO_MANY_REQUESTS else ()
        plain = {"description": "Too many requests at once.", "headers": self._headers(*again), "content": {}}
        answer = dict(made.get(status, plain))
        schema = {"type": "string", "pattern": "Rate Limit Exceeded"}
        text = {"text/plain": {"schema": schema, "example": TEXTS[self._settings.throttle_status]}}
        return {status: answer | {"content": answer["content"] | text}}

    def _failure(self, body: Errors, *headers: str) -> dict[str, Any]:
        content = {"application/json": {"schema": self._schemas[Errors], "example": body}}
        return {"description": body["errors"][0]["message"], "headers": self._headers(*headers), "content": content}

    def _headers(self, *names: str) -> dict[str, Any]:
        throttle = ("X-Rate-Limit-Remaining",) if self._in_api and self._settings.throttle_maximum > 0 else ()
        return _header_refs("X-Request-Context-Id", "X-Request-Cost", *throttle, *names)

    def _repeated(self, status: int) -> Sequence[str]:
        return [REPLAYED] if self._takes_key and status not in NOT_KEPT else []


def _header_refs(*names: str) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def operation_id(route: web.RouteDef) -> str:
    """A name for clients made from the document: get_conversations_id."""
    steps = re.findall(r"\w+", route.path.removeprefix(_API + "v1"))
    return "_".join([route.method.lower(), *steps])


@describe(
    "This document",
    {200: Outcome("OpenAPI 3.1.", dict[str, Any])},
    tag=Tag.SERVICE,
)
async def openapi(request: web.Request) -> web.Response:
    """What the service understands and answers, and where: at the address where it was asked for."""
    return respond(request, request.app[DOCUMENT].content | {"servers": [{"url": base_url(request)}]})


routes = [web.get("/openapi.json", openapi)]
