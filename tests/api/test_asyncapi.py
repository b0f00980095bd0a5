"""The AsyncAPI document as it is served; what is in it: tests/contracts/test_asyncapi.py."""

from importlib.metadata import version

import aiohttp

from service.runtime.settings import Settings


async def test_anybody_gets_the_document_with_the_names_of_this_installation(
    client: aiohttp.ClientSession, settings: Settings
) -> None:
    async with client.get("/asyncapi.json") as response:
        assert response.status == 200
        assert response.content_type == "application/json"
        document = await response.json()

    assert (document["asyncapi"], document["info"]["version"]) == ("3.0.0", version("clarion"))
    exchange = document["channels"]["requests"]["bindings"]["amqp"]["exchange"]
    assert exchange["name"] == f"{settings.amqp_prefix}.requests"
