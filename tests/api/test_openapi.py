"""The OpenAPI document: whole, valid, and true to what the routes understand and answer."""

import inspect
import pkgutil
from importlib import import_module
from itertools import chain
from typing import Any

import aiohttp
import pytest
from pydantic import TypeAdapter

from service import api
from service.api import description
from service.api.app import MODULES
from service.api.description import description_of
from service.application.parameters.types import parse
from service.application.presentation.error_shapes import SHAPES, Errors
from service.application.presentation.errors import answer_of, fault, unavailable
from service.domain.errors import Code, Refusal
from tests.support import published_api
from tests.support.gateway import PUBLIC_URL

ROUTES = list(chain.from_iterable(module.routes for module in MODULES))


@pytest.fixture
async def document(client: aiohttp.ClientSession) -> dict[str, Any]:
    """As it is served."""
    async with client.get("/openapi.json") as response:
        assert response.status == 200
        found: dict[str, Any] = await response.json()
        return found


def test_every_route_is_described() -> None:
    undescribed = [f"{route.method} {route.path}" for route in ROUTES if description_of(route.handler) is None]

    assert undescribed == []


def test_a_handler_takes_the_parameters_that_describe_it() -> None:
    for route in ROUTES:
        found = description_of(route.handler)
        assert found is not None
        _request, *taken = inspect.signature(inspect.unwrap(route.handler), eval_str=True).parameters.values()
        described = [] if found.parameters is None else [found.parameters]

        assert [each.annotation for each in taken] == described, route


def test_no_handler_parses_parameters_by_itself() -> None:
    """What it parsed would be missing in the document."""
    modules = [import_module(f"{api.__name__}.{found.name}") for found in pkgutil.iter_modules(api.__path__)]

    assert [module for module in modules if parse in vars(module).values()] == [description]


def test_what_is_required_can_be_sent() -> None:
    for route in ROUTES:
        found = description_of(route.handler)
        if found is not None and found.required:
            assert found.parameters is not None
            assert set(found.required) <= set(found.parameters.model_fields)


async def test_it_is_valid(document: dict[str, Any]) -> None:
    """The validator is imported here: that takes seconds, which every process would spend that collects tests."""
    validator = import_module("openapi_spec_validator").OpenAPIV31SpecValidator(document)

    assert [error.message for error in validator.iter_errors()] == []
    assert document["openapi"].startswith("3.1")
    assert document["servers"] == [{"url": PUBLIC_URL}]


async def test_it_holds_every_route_once(document: dict[str, Any]) -> None:
    listed = {(path, method.upper()) for path, methods in document["paths"].items() for method in methods}
    names = [operation["operationId"] for methods in document["paths"].values() for operation in methods.values()]

    unpublished = {"/console/", "/console/{file:.+}"}  # what only the page itself asks for
    assert listed == {(route.path, route.method) for route in ROUTES if route.path not in unpublished}
    assert len(names) == len(set(names))


async def test_every_parameter_says_what_it_is_for(document: dict[str, Any]) -> None:
    silent = [
        (path, name)
        for path, methods in document["paths"].items()
        for operation in methods.values()
        for name, text in _parameters(operation)
        if not text
    ]

    assert silent == []


def _parameters(operation: dict[str, Any]) -> list[tuple[str, str | None]]:
    found = [
        (each["name"], each.get("description")) for each in operation.get("parameters", []) if each["in"] != "path"
    ]
    for content in operation.get("requestBody", {"content": {}})["content"].values():
        found += [
            (name, schema.get("description") or schema.get("properties"))
            for name, schema in content["schema"]["properties"].items()
        ]
    return found


async def test_forms_and_json_name_parameters_in_their_own_ways(document: dict[str, Any]) -> None:
    contents = document["paths"]["/api/v1/conversations/{id}"]["put"]["requestBody"]["content"]

    assert {"conversation", "filter"} <= set(contents["application/json"]["schema"]["properties"])
    assert contents["application/json"]["schema"]["required"] == ["conversation"]
    for form in ("application/x-www-form-urlencoded", "multipart/form-data"):
        names = set(contents[form]["schema"]["properties"])
        assert {"conversation[workflow_state]", "conversation[starred]", "filter[]", "filter_mode"} <= names


@pytest.mark.parametrize("code", list(Code))
def test_refusals_look_as_the_document_says(code: Code) -> None:
    refusal = Refusal(code, "said", attribute="body", kind="kind")

    for answer in (answer_of(refusal), answer_of(Refusal(code))):
        TypeAdapter(SHAPES[code]).validate_python(answer.body, strict=True)


def test_faults_look_as_the_document_says() -> None:
    for answer in (fault(7), unavailable()):
        TypeAdapter(Errors).validate_python(answer.body, strict=True)


async def test_what_changes_something_takes_an_idempotency_key(document: dict[str, Any]) -> None:
    """And says so of its answers: what may be repeated, and the two refusals."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            keyed = method in {"post", "put"}
            taken = [each["name"] for each in operation.get("parameters", []) if each["in"] == "header"]
            assert taken == ["Idempotency-Key"] * keyed, (method, path)
            repeated = {
                status for status, said in operation["responses"].items() if "Idempotency-Replayed" in said["headers"]
            }
            assert bool(repeated) == keyed
            assert not repeated & {"401", "409", "422", "429", "500", "503"}
            for status in ("400", "409", "422") if keyed else ():
                shown = operation["responses"][status]["content"]["application/json"]["schema"]
                assert "InvalidAttribute" in str(shown), (method, path, status)


async def test_throttling_is_described_when_there_is_any(document: dict[str, Any]) -> None:
    answers = document["paths"]["/api/v1/conversations"]["get"]["responses"]

    assert set(answers["429"]["content"]) == {"text/plain"}
    assert "X-Rate-Limit-Remaining" in answers["200"]["headers"]


async def test_the_viewer_needs_nothing_from_elsewhere(client: aiohttp.ClientSession) -> None:
    async with client.get("/docs") as response:
        assert response.status == 200
        assert response.content_type == "text/html"
        assert "default-src 'self'" in response.headers["Content-Security-Policy"]
        page = await response.text()

    assert "://" not in page
    loaded = [part.split('"')[0] for part in chain(page.split('src="')[1:], page.split('href="')[1:])]
    assert len(loaded) == 4
    for name in loaded:
        async with client.get(f"/{name}") as response:
            assert response.status == 200
            assert await response.read()


async def test_every_parameter_of_the_published_descriptions_is_in_it(document: dict[str, Any]) -> None:
    for route, names in published_api.PARAMETERS.items():
        method, _, path = route.partition(" ")
        operation = document["paths"]["/api/v1" + path.replace(":id", "{id}")][method.lower()]
        known = {each["name"] for each in operation.get("parameters", [])}
        for content in operation.get("requestBody", {"content": {}})["content"].values():
            known |= set(content["schema"]["properties"])
        assert names - {"filter"} <= known, route
