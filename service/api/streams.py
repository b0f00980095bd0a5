"""Answers that are made while they are sent, a part at a time, whatever their length."""

from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog
from aiohttp import hdrs, web

from service.api.deadline import DEADLINE
from service.api.responses import FRESH

log = structlog.get_logger(__name__)


async def stream(request: web.Request, content_type: str, parts: AsyncGenerator[bytes, None]) -> web.StreamResponse:
    """Sends the parts as they come. With each that the reader has taken the request's time begins anew.

    A reader who takes nothing for that long, or a part that cannot be made, ends the connection: the answer has begun,
    so the lack of its end is all that can be said.
    """
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: content_type, hdrs.CACHE_CONTROL: FRESH})
    await response.prepare(request)
    if request.method == hdrs.METH_HEAD:
        return response
    deadline = request[DEADLINE]
    ended = False
    try:
        async with aclosing(parts):
            async for part in parts:
                await response.write(part)
                deadline.renew()
        await response.write_eof()
        ended = True
    except ConnectionError as error:
        log.info("reader_gone", error=str(error))
    except Exception:
        log.exception("stream_broken")
    finally:
        if not ended and request.transport is not None:
            request.transport.abort()
    return response
