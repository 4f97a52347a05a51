"""A bare Starlette route that appends the body of a request with one XADD: the limit."""

from __future__ import annotations

from typing import Any

import redis.asyncio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from benchmarks.peers.work import URL

client: Any = redis.asyncio.Redis.from_url(URL)


async def receive(request: Request) -> Response:
    await client.xadd("raw", {"event": await request.body()})
    return Response(status_code=202)


app = Starlette(routes=[Route("/events", receive, methods=["POST"])])
