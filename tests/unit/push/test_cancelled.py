"""A request to an endpoint may be cancelled at any of its steps, by its timeout or a time limit."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import httpx
import pytest

from celeriac.push.connection import Connections, Target
from tests.http_endpoint import HttpEndpoint
from tests.unit.store.redis.test_cancelled_sending import is_cancelled_at


@pytest.mark.parametrize("connected", [True, False])
def test_the_only_connection_of_the_pool_stays_usable(
    endpoint: HttpEndpoint, connected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.push.connection.MAX_CONNECTIONS", 1)
    if not connected:
        monkeypatch.setattr("celeriac.push.connection.MAX_IDLE", 0)

    async def main() -> None:
        target = Target(httpx.URL(endpoint.url), 10)
        async with aclosing(Connections()) as connections:
            for step in range(80):
                await is_cancelled_at(step, lambda: connections.post(target, {}, b"cancelled"))
                assert (await connections.post(target, {}, b"next")).status == 200

    asyncio.run(main())
