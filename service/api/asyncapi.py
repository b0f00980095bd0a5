"""GET /asyncapi.json: what goes over the broker, in AsyncAPI 3.0."""

from functools import cache
from importlib.metadata import version
from typing import Any

from aiohttp import web

from service.api.create_conversation import REQUIRED
from service.api.description import Outcome, Tag, describe
from service.api.keys import SETTINGS
from service.api.parameter_schemas import body_content
from service.api.responses import respond
from service.application.parameters.create_conversation import CreateParameters
from service.contracts.asyncapi import document
from service.contracts.topology import Topology


@cache
def document_of(prefix: str, protocol: str) -> dict[str, Any]:
    """The document of an installation with that prefix; ``protocol``: amqp or amqps."""
    parameters = body_content(CreateParameters, REQUIRED)["application/json"]["schema"]
    return document(Topology(prefix), release=version("clarion"), parameters=parameters, protocol=protocol)


@describe(
    "The messages over AMQP",
    {200: Outcome("AsyncAPI 3.0.", dict[str, Any])},
    text="What neighbours can listen to and publish on the broker: exchanges, routing keys, bodies, guarantees.",
    tag=Tag.SERVICE,
)
async def asyncapi(request: web.Request) -> web.Response:
    """The document of this installation, with its names."""
    settings = request.app[SETTINGS]
    return respond(request, document_of(settings.amqp_prefix, settings.amqp_url.partition(":")[0]))


routes = [web.get("/asyncapi.json", asyncapi)]
