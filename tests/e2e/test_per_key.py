"""Limits per key with real workers: two of them, with two processes each."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from celeriac.tracking import DeliveryState


@pytest.fixture
def keyed(deployment: Any) -> Any:
    for _ in range(2):
        deployment.worker(app="keyed")
    joins = {"build": "report", "send": "sms", "load": "row", "index": "doc", "average": "price"}
    for handler, domain in joins.items():
        deployment.joined(f"billing.{handler}", domain)
    return deployment


def test_no_more_than_two_of_a_tenant_run_at_once(keyed: Any) -> None:
    events = [
        keyed.bus.event("report.asked", {"tenant": tenant, "n": n})
        for n in range(60)
        for tenant in ("a", "b")
    ]
    keyed.bus.emit_many(events)
    keyed.until_settled()
    assert keyed.runs("billing.build") == dict.fromkeys((event.id for event in events), 1)
    for tenant in ("a", "b"):
        at_once = {int(n) for n in keyed.effects.lrange(f"at once:{tenant}", 0, -1)}
        assert at_once == {1, 2}
    assert keyed.matrix.totals().missing == 0


def test_a_worker_that_dies_leaves_no_slot_taken(keyed: Any) -> None:
    events = [keyed.bus.event("report.asked", {"tenant": "a", "n": n}) for n in range(300)]
    keyed.bus.emit_many(events)
    keyed.until(lambda: len(keyed.runs("billing.build")) > 20, what="full flow")
    keyed.workers[0].kill()
    keyed.until_settled()
    assert keyed.runs("billing.build").keys() == {event.id for event in events}


def test_each_tenant_has_its_rate(keyed: Any) -> None:
    events = [
        keyed.bus.event("sms.asked", {"tenant": tenant}) for _ in range(30) for tenant in ("a", "b")
    ]
    began = time.time()
    keyed.bus.emit_many(events)
    keyed.until_settled()
    assert keyed.runs("billing.send") == dict.fromkeys((event.id for event in events), 1)
    for tenant in ("a", "b"):
        sent = sorted(float(at) for at in keyed.effects.lrange(f"sent:{tenant}", 0, -1))
        # A burst of one second's worth, then ten a second: the last one is fetched 2 s after the
        # first. A machine under load may begin the first one late.
        assert sent[-1] - began > 1.99


def test_one_event_does_not_wait_for_the_backlog_of_another_tenant(keyed: Any) -> None:
    backlog = [keyed.bus.event("row.read", {"tenant": "crowd"}) for _ in range(5000)]
    keyed.bus.emit_many(backlog)
    keyed.until(lambda: len(keyed.runs("billing.load")) > 200, what="full flow")
    one = keyed.bus.emit("row.read", {"tenant": "one"})
    keyed.until(lambda: one in keyed.runs("billing.load"), what="the one event")
    order = keyed.effects.lrange("effects:billing.load", 0, -1)
    assert order.index(one) < 4000
    keyed.until_settled()
    assert sum(keyed.runs("billing.load").values()) == 5001


def test_one_event_represents_all_until_its_key_is_quiet(keyed: Any) -> None:
    first, *_, last = [keyed.bus.emit("doc.changed", {"n": n}, subject="doc/1") for n in range(20)]
    other = keyed.bus.emit("doc.changed", {}, subject="doc/2")
    keyed.until_settled()
    assert keyed.runs("billing.index") == {last: 1, other: 1}
    [cell] = keyed.matrix.status(first).cells
    assert cell.state is DeliveryState.COALESCED
    assert keyed.matrix.totals().coalesced == 19


def test_all_events_of_a_key_come_in_one_list(keyed: Any) -> None:
    ids = {
        subject: [keyed.bus.emit("price.seen", {}, subject=subject) for _ in range(12)]
        for subject in ("a", "b")
    }
    keyed.until_settled()
    lists = [json.loads(one) for one in keyed.effects.lrange("lists", 0, -1)]
    assert sorted(lists) == sorted(ids.values())
