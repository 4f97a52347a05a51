"""A webhook whose request is cancelled at each place where it waits."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from celeriac import EventBus, Settings
from celeriac.event import decode
from celeriac.gateway import Stripe, gateway
from tests.unit.cancelled import cancel_at_each_wait
from tests.unit.gateway.asgi import Slow
from tests.unit.gateway.conftest import PARTNER, end
from tests.unit.gateway.hook.signing import stripe
from tests.unit.gateway.test_metrics import WATCHER, scrape

SECRET = "whsec_test_secret"


def test_a_webhook_that_is_sent_again_after_a_cancelled_request_is_one_event(
    settings: Settings,
) -> None:
    """As Starlette's middleware cancels it when its client disconnects, or a server that stops."""
    bus = EventBus(service="billing", redis_url=settings.redis_url, namespace=settings.namespace)
    app = gateway(bus, tokens=[PARTNER, WATCHER], hooks={"stripe": Stripe(SECRET)})
    number, answers = 0, list[int]()

    async def post() -> None:
        body = json.dumps({"id": f"evt_{number}", "type": "charge.failed"}).encode()
        request = Slow(app, stripe(body, SECRET, at=int(time.time())), path="/hooks/stripe")
        request.send(body[:20])
        asyncio.get_running_loop().call_soon(lambda: request.send(body[20:], more=False))
        await request.run()
        answers.append(request.status)

    async def check(is_cancelled: bool) -> None:
        nonlocal number
        await post()
        number += 1
        entries = bus.service.backend.event_log.read("stripe", count=1000)
        assert [f"evt_{n}" for n in range(number)] == [decode(e.body or b"").id for e in entries]
        # The next request connects.
        await bus.aclose()

    async def main() -> int:
        return await cancel_at_each_wait(post, check)

    cancelled = asyncio.run(main())
    assert cancelled >= 3, "for the body, the connection and the reply"
    assert [202] * (2 + cancelled) == answers
    counted: Any = scrape(app)
    route = ("/hooks/stripe", "", "cancelled")
    assert {route: cancelled} == counted["celeriac_gateway_refused_total"]
    assert {("/metrics",): 1} == counted["celeriac_gateway_running"], "no slot is taken"
    end(app)
