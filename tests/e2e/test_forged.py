"""A worker that is sent what no dispatcher sends: it refuses that, and continues."""

from __future__ import annotations

import pickle
from typing import Any

import kombu

# kombu ships no types
broker: Any = kombu
GOOD = "1-0 a"
BODIES: list[Any] = [
    [[], {"domain": "order", "events": GOOD}, {"callbacks": [{"task": "billing.note"}]}],
    [[], {"domain": "a}:b", "events": GOOD}, {}],
    [[], {"domain": "order", "events": "+ a"}, {}],
    [[], {"domain": "order", "events": "\n".join(f"{n}-0 a" for n in range(20_000))}, {}],
    [[], {"domain": "order", "events": GOOD, "self": 1}, {}],
    [[], "no mapping", {}],
    [["order", GOOD], {}, {}],
    {"no": "list"},
    "text",
    None,
]


def test_forged_messages_run_nothing_and_stop_nothing(deployment: Any) -> None:
    worker = deployment.worker()
    with broker.Connection(deployment.server.url) as connection:
        producer = broker.Producer(connection)
        for name in ("billing.note", "shipping.send", "billing.nowhere", "celery.starmap"):
            for n, body in enumerate(BODIES):
                headers = {"id": f"{name}-{n}", "task": name, "lang": "py"}
                producer.publish(body, routing_key="billing", serializer="json", headers=headers)
        producer.publish(
            pickle.dumps("x"), routing_key="billing", content_encoding="binary",
            content_type="application/x-python-serialize", headers={"id": "p", "task": "a.b"},
        )  # fmt: skip
    ids = [deployment.bus.emit("order.placed", {"n": n}) for n in range(5)]
    deployment.until_settled()
    assert worker.process.poll() is None
    assert {deployment.runs("billing.note")[id] for id in ids} == {1}
