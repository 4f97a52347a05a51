"""Faults of input: what others write into the log or into Celery's queue."""

from __future__ import annotations

import base64
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from celeriac import EventTooLarge
from celeriac.store.redis.keys import Keys
from devtools.faults.apps.handlers import SERVICE
from devtools.faults.fault import Fault, Inject
from devtools.faults.system import CeleriacSystem
from devtools.faults.testbed import Testbed

HUGE = 100 * 1024 * 1024


def event(type: str, **members: Any) -> str:
    made = {"specversion": "1.0", "id": uuid.uuid4().hex, "source": "foreign", "type": type}
    return json.dumps({**made, **members})


def foreign(domain: str, *bodies: Callable[[], str | bytes]) -> Inject:
    """Entries that another program appends to the log, among good ones; each must end as dead."""

    def append(testbed: Testbed) -> None:
        testbed.worker()
        for _ in range(testbed.times):
            for body in bodies:
                raw = body()
                entry = testbed.redis.xadd(Keys().events(domain), {"event": raw}).decode()
                _expect_dead(testbed, domain, raw, entry)
                testbed.injected += 1
            testbed.publish("work.neighbour", 40)

    return append


def _expect_dead(testbed: Testbed, domain: str, raw: str | bytes, entry: str) -> None:
    try:
        id = json.loads(raw)["id"]
        testbed.accepted(f"{domain}.one", [id], fails=True)
    except Exception:
        # No event: the handler that reads it first makes it a dead letter.
        testbed.accepted_invalid(entry)


def huge(testbed: Testbed) -> None:
    """emit refuses it; what a foreign program appends in spite of that reaches its handlers, and
    their neighbours wait no longer than it takes to read."""
    testbed.worker()
    payload = "x" * HUGE
    if isinstance(testbed.system, CeleriacSystem):
        try:
            testbed.system.bus.emit("work.huge", payload)
            raise AssertionError("emit accepted 100 MB")
        except EventTooLarge:
            testbed.notes.append("refused by emit")
        raw = event("work.huge", id="huge", data=payload)
        testbed.redis.xadd(Keys().events("work"), {"event": raw})
        testbed.accepted("work.huge", ["huge"])
    else:
        testbed.publish("work.huge", 1, data=payload)
    testbed.injected += 1
    for _ in range(10):
        testbed.publish("work.neighbour", 10)
        time.sleep(0.2)


def queue_junk(testbed: Testbed) -> None:
    """What a program that took our queue for its own may write there."""
    testbed.worker()
    message = {
        "body": base64.b64encode(b'[[], {}, {"callbacks": null}]').decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "foreign.task", "id": "1", "root_id": "1"},
        "properties": {
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": SERVICE},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": "1",
        },
    }
    wrong = json.loads(json.dumps(message))
    wrong["headers"] |= {"task": f"{SERVICE}.first", "id": "2"}
    junk = ["{}", json.dumps(message), json.dumps(wrong), "not JSON", "[]"]
    with testbed.stream():
        for _ in range(testbed.times):
            for item in junk:
                testbed.busy(40)
                testbed.redis.lpush(SERVICE, item)
                testbed.injected += 1
                testbed.restored(wait=False)
        testbed.busy(40)


FAULTS = (
    Fault(
        name="input: not JSON",
        about="appended to the log by another program",
        inject=foreign("work", lambda: "not JSON", lambda: b"\xff\xfe\x00", lambda: ""),
        quick=True,
        stock=False,
    ),
    Fault(
        name="input: not a CloudEvent",
        about="appended to the log by another program",
        inject=foreign("work", lambda: "{}", lambda: '{"hello": "world"}', lambda: "[1]"),
        stock=False,
    ),
    Fault(
        name="input: 100 MB",
        about="refused by emit; appended by another program it is handled",
        inject=huge,
        once=True,
        # Reading it takes seconds in which nothing else runs, so no lease is renewed either.
        lease=30.0,
        visibility=30.0,
        bound=100.0,
    ),
    Fault(
        name="input: unknown content type",
        about="data that is no JSON for a handler that takes a Struct",
        inject=foreign(
            "typed",
            lambda: event("typed.one", datacontenttype="application/x-unknown", data_base64="AAEC"),
        ),
        domains=("work", "typed"),
        stock=False,
    ),
    Fault(
        name="input: schema-invalid",
        about="text where the handler's Struct has a number",
        inject=foreign("typed", lambda: event("typed.one", data={"n": "many"})),
        domains=("work", "typed"),
        stock=False,
    ),
    Fault(
        name="foreign messages on the Celery queue",
        about="{}, an unknown task, wrong arguments, not JSON, []",
        inject=queue_junk,
        quick=True,
    ),
)
