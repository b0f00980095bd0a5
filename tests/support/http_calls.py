"""One request, its status checked."""

from typing import Any

from aiohttp import ClientSession

NOT_FOUND = {"errors": [{"message": "The specified resource does not exist."}]}
NOT_AUTHORISED = {
    "status": "unauthorized",
    "errors": [{"message": "user not authorized to perform that action"}],
}


async def call(
    client: ClientSession, headers: dict[str, str], method: str, path: str, *, status: int = 200, **sent: Any
) -> Any:
    """The JSON body of the answer; ``sent`` goes to aiohttp (json, data, params)."""
    async with client.request(method, f"/api/v1{path}", headers=headers, **sent) as response:
        assert response.status == status, await response.text()
        return await response.json()
