"""Handlers behind HTTP, and webhooks, on the server of the test."""

from __future__ import annotations

import os

from celeriac import Breaker, EventBus
from celeriac.push import Endpoint

URL = os.environ["ENDPOINT_URL"]
SECRET = os.environ["ENDPOINT_SECRET"]

bus = EventBus(lease=float(os.environ.get("LEASE", "3")))
app = bus.app

bus.push("order.*", url=f"{URL}/index", name="index", timeout=2, retries=20, backoff=0.05)
bus.push("slow.*", url=f"{URL}/slow", name="slow", timeout=60)
bus.webhooks(
    "invoice.*",
    endpoints=lambda event: [
        Endpoint(id=id, url=f"{URL}/{id}", secrets=SECRET) for id in ("acme", "bolt")
    ],
    breaker=Breaker(failures=3, window=60, recovery_timeout=1),
    backoff=0.05,
    allow_private=True,
)
