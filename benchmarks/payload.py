"""The event that everybody carries: an order, 237 bytes as a CloudEvent in JSON."""

from __future__ import annotations

import json
import os
from typing import Any

SIZE = int(os.environ.get("BENCH_SIZE", "0"))

ORDER: dict[str, Any] = {
    "order": "8c1f3b02",
    "customer": 48213,
    "total": "129.90",
    "currency": "EUR",
    "sku": "AB-123456",
}
if SIZE:
    ORDER["note"] = "x" * SIZE

BODY = json.dumps(
    {
        "specversion": "1.0",
        "id": "0b5ad0a4-52c4-4ac5-9d2a-6f2f1f6c0d3e",
        "source": "shop",
        "type": "order.placed",
        "time": "2026-11-20T12:00:00.123456Z",
        "data": ORDER,
    },
    separators=(",", ":"),
).encode()

# Of the client of a gateway.
SECRET, SOURCE = "bench-secret-of-32-characters-ok", "/bench"
