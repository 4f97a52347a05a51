"""Metrics equal the delivery store, and a scrape blocks no other one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from msgspec.structs import replace
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.samples import Sample

from celeriac import Event, EventBus, NoReply, Reply
from celeriac.delivery import FetchRequest, Group
from celeriac.dispatcher.schedules import Schedules
from celeriac.observability.metrics import collector
from celeriac.observability.metrics import scrape as scrape_module
from celeriac.observability.metrics.definition import METRICS
from celeriac.registry.scale_target import ScaleTargetRecord
from celeriac.testing import in_memory
from celeriac.testing.memory import MemoryBus
from tests.unit.observability.metrics.conftest import Scrape


def value(samples: list[Sample], name: str, **labels: str) -> float:
    """Of the only sample with this name and these labels."""
    [found] = [s for s in samples if s.name == name and labels.items() <= s.labels.items()]
    return float(found.value)


def test_outcomes_are_counted_by_handler_and_type(shop: MemoryBus, scrape: Scrape) -> None:
    found = scrape(shop.store.backend)
    charge = {"service": "billing", "handler": "billing.charge", "type": "order.placed"}
    counts = {
        name: value(found[f"celeriac_{name}"], f"celeriac_{name}_total", **charge)
        for name in ("delivered", "processed", "failed", "retried", "dead", "skipped")
    }
    assert {
        "delivered": 5, "processed": 4, "failed": 2, "retried": 1, "dead": 1, "skipped": 1
    } == counts  # fmt: skip


def test_emitted_events_are_counted_by_type_and_domain(shop: MemoryBus, scrape: Scrape) -> None:
    found = scrape(shop.store.backend)
    emitted = {s.labels["type"]: s.value for s in found["celeriac_emitted"]}
    assert {"order.placed": 6, "payment.captured": 4} == emitted
    assert {"order": 6, "payment": 4} == {
        s.labels["domain"]: s.value for s in found["celeriac_appended"]
    }
    assert 6 == value(found["celeriac_log_length"], "celeriac_log_length", domain="order")


def test_durations_are_histograms_with_cumulative_buckets(shop: MemoryBus, scrape: Scrape) -> None:
    found = scrape(shop.store.backend)
    of = {"handler": "billing.charge", "type": "order.placed"}
    for name, count in (("wait", 5), ("run", 6), ("completion", 4)):
        samples = [s for s in found[f"celeriac_{name}_seconds"] if of.items() <= s.labels.items()]
        buckets = [s for s in samples if s.name.endswith("_bucket")]
        assert sorted(s.value for s in buckets) == [s.value for s in buckets]
        bounds = [float(s.labels["le"]) for s in buckets]
        assert bounds == sorted(bounds) and bounds[-1] == float("inf")
        assert count == buckets[-1].value == value(samples, f"celeriac_{name}_seconds_count")
        assert value(samples, f"celeriac_{name}_seconds_sum") >= 0


def test_chunks_dead_letters_and_lag_are_reported_by_handler_and_domain(
    shop: MemoryBus, scrape: Scrape
) -> None:
    found = scrape(shop.store.backend)
    send = {"handler": "shipping.send", "domain": "payment"}
    chunks = found["celeriac_chunk_events"]
    assert 4 == value(chunks, "celeriac_chunk_events_sum", **send)
    assert value(chunks, "celeriac_chunk_events_count", **send) >= 1
    charge = {"handler": "billing.charge", "domain": "order"}
    assert 1 == value(found["celeriac_dead_letters"], "celeriac_dead_letters", **charge)
    assert 0 == value(found["celeriac_lag_events"], "celeriac_lag_events", **charge)
    assert 0 == value(found["celeriac_lag_seconds"], "celeriac_lag_seconds", **charge)


def test_requests_are_counted_by_type(scrape: Scrape) -> None:
    shop, prices = EventBus(service="shop"), EventBus(service="prices")

    @prices.on("price.asked")
    def quote(event: Event[Any]) -> Reply:
        return Reply(1)

    with in_memory(shop, prices) as memory:
        shop.request("price.asked", {}, timeout=5)
        with pytest.raises(NoReply):
            shop.request("size.asked", {}, timeout=5)
        memory.store.replies.open("m1", "size.asked", 1000)
        memory.store.replies.push("m2", b"", "price.asked")
        found = scrape(memory.store.backend)
    outcomes = {
        (s.labels["type"], s.labels["outcome"]): s.value
        for s in found["celeriac_requests"]
        if s.value
    }
    assert {("price.asked", "replied"): 1, ("size.asked", "timed_out"): 1} == outcomes
    pending, late = found["celeriac_requests_pending"], found["celeriac_late_replies"]
    assert 1 == value(pending, "celeriac_requests_pending", type="size.asked")
    assert 1 == value(late, "celeriac_late_replies_total", type="price.asked")
    seconds = found["celeriac_request_seconds"]
    assert 1 == value(seconds, "celeriac_request_seconds_count", type="price.asked")
    assert 0 == value(seconds, "celeriac_request_seconds_count", type="size.asked")


def test_a_schedule_has_its_ticks_and_the_missed_ones(scrape: Scrape) -> None:
    bus = EventBus(service="reports")
    bus.schedule("report.due", every=60, missed="last")
    with in_memory(bus) as memory:
        dispatcher = Schedules(bus.service)
        dispatcher.run()
        found = scrape(memory.store.backend)
        assert found["celeriac_schedule_last_tick_timestamp_seconds"] == []
        memory.store.clock.advance(5 * 60_000)
        dispatcher.run()
        now_s = memory.store.clock.now_ms() // 60_000 * 60
        found = scrape(memory.store.backend)
    labels = {"service": "reports", "schedule": "report.due", "type": "report.due"}
    for name, expected in (
        ("schedule_fired", 1),
        ("schedule_missed", 4),
        ("schedule_last_tick_timestamp_seconds", now_s),
        ("schedule_next_tick_timestamp_seconds", now_s + 60),
    ):
        suffix = "" if name.endswith("_seconds") else "_total"
        assert expected == value(found[f"celeriac_{name}"], f"celeriac_{name}{suffix}", **labels)


def test_a_backlog_is_reported_by_state_with_its_age(scrape: Scrape) -> None:
    bus = EventBus(service="billing")
    bus.on("order.placed", name="charge")(lambda event: None)
    with in_memory(bus) as memory:
        bus.emit_many([("order.placed", n) for n in range(5)])
        group = Group("order", "billing.charge")
        memory.store.deliveries.fetch("w1", [FetchRequest(group, 2)])
        memory.advance(90)
        memory.store.deliveries.fetch("w2", [FetchRequest(group, 1, reclaim=True, max_new=0)])
        found = scrape(memory.store.backend)
    by_state = {s.labels["state"]: s.value for s in found["celeriac_deliveries"]}
    assert {"waiting": 3, "queued": 2, "running": 0, "blocked": 0, "scheduled": 0} == by_state
    assert 5 == value(found["celeriac_lag_events"], "celeriac_lag_events")
    assert 90 <= value(found["celeriac_lag_seconds"], "celeriac_lag_seconds") < 95
    lost = {s.labels["state"]: s.value for s in found["celeriac_leases_lost"]}
    assert {"queued": 1, "running": 0} == lost


def test_a_circuit_is_one_in_its_state_and_zero_in_the_others(
    shop: MemoryBus, scrape: Scrape
) -> None:
    shop.store.backend.circuits.pause("billing.charge", reason="maintenance")
    found = scrape(shop.store.backend)["celeriac_circuit"]
    states = {s.labels["state"]: s.value for s in found if s.labels["handler"] == "billing.charge"}
    assert {"closed": 0, "open": 0, "half-open": 0, "paused": 1} == states


def test_a_service_without_a_worker_is_reported_as_zero(shop: MemoryBus, scrape: Scrape) -> None:
    workers = scrape(shop.store.backend)["celeriac_workers"]
    assert 1 == value(workers, "celeriac_workers", service="shipping")
    shop.advance(60)
    workers = scrape(shop.store.backend)["celeriac_workers"]
    assert 0 == value(workers, "celeriac_workers", service="shipping")


def test_a_service_that_its_autoscaler_needs_no_worker_of_is_scaled_to_zero(
    shop: MemoryBus, scrape: Scrape
) -> None:
    def scaled_to_zero() -> dict[str, float]:
        found = scrape(shop.store.backend)["celeriac_scaled_to_zero"]
        return {sample.labels["service"]: sample.value for sample in found}

    registry = shop.store.backend.registry
    assert {} == scaled_to_zero()
    asked = ScaleTargetRecord(
        service="shipping", cooldown=60, workers=0, requested_ms=registry.now_ms()
    )
    registry.note_scale_target(asked)
    assert {"shipping": 1} == scaled_to_zero()
    for unmet_s, expected in ((50, 1), (70, 0)):
        since = registry.now_ms() - unmet_s * 1000
        registry.note_scale_target(replace(asked, workers=1, unmet_since_ms=since))
        assert {"shipping": expected} == scaled_to_zero()
    shop.advance(660)
    assert {} == scaled_to_zero(), "the autoscaler has not asked for 10 minutes"


def test_types_without_bound_become_other(scrape: Scrape) -> None:
    bus = EventBus(service="billing")
    bus.on("#", name="all", batch=500)(lambda events: None)
    with in_memory(bus) as memory:
        for _ in range(3):
            bus.emit("order.placed")
        bus.emit_many([(f"order.n{n}", n) for n in range(300)])
        memory.run_until_idle()
        found = scrape(memory.store.backend)
    for name in ("celeriac_emitted", "celeriac_processed"):
        counts = {s.labels["type"]: s.value for s in found[name] if s.name.endswith("_total")}
        assert 101 == len(counts)
        assert (3, 303) == (counts["order.placed"], sum(counts.values()))
        assert 201 == counts["other"]


def test_pairs_of_handler_and_type_without_bound_are_timed_together(scrape: Scrape) -> None:
    bus = EventBus(service="billing")
    for n in range(6):
        bus.on("order.#", name=f"h{n}", batch=500)(lambda events: None)
    with in_memory(bus) as memory:
        bus.emit_many([(f"order.n{k}", k) for k in range(30)])
        memory.run_until_idle()
        found = scrape(memory.store.backend)["celeriac_run_seconds"]
    counts = [s for s in found if s.name.endswith("_count")]
    assert (180, True) == (sum(s.value for s in counts), len(counts) <= 106)
    assert any(s.labels["type"] == "other" for s in counts)


def test_every_metric_has_a_definition_and_every_definition_a_metric(
    shop: MemoryBus, scrape: Scrape
) -> None:
    found = scrape(shop.store.backend)
    assert found.keys() == METRICS.keys()
    for name, samples in found.items():
        for sample in samples:
            assert {*METRICS[name].labels} == sample.labels.keys() - {"le"}


def scraped(registry: CollectorRegistry) -> str:
    return generate_latest(registry).decode()


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the collector: a reading stays fresh however slow the machine is."""
    now = [100.0]
    monkeypatch.setattr(scrape_module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_it_reads_at_most_once_a_second(
    shop: MemoryBus, monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    reads = counting(shop, monkeypatch)
    registry = CollectorRegistry()
    registry.register(collector(shop.store.backend))
    assert [] == reads, "to register it reads nothing"
    first = scraped(registry)
    now[0] += 0.99
    assert first == scraped(registry)
    assert 1 == len(reads)
    now[0] += 0.01
    scraped(registry)
    assert 2 == len(reads)


def test_scrapes_at_the_same_time_share_one_reading(
    shop: MemoryBus, monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    continues = threading.Event()
    reads = counting(shop, monkeypatch, wait=lambda: continues.wait(20))
    registry = CollectorRegistry()
    registry.register(collector(shop.store.backend, patience=20))
    texts: list[str] = []
    threads = [threading.Thread(target=lambda: texts.append(scraped(registry))) for _ in range(8)]
    for thread in threads:
        thread.start()
    threads[0].join(0.2)
    continues.set()
    for thread in threads:
        thread.join()
    assert (1, 8) == (len(reads), sum("celeriac_processed_total" in text for text in texts))


def test_a_redis_that_does_not_respond_blocks_no_scrape(
    shop: MemoryBus, monkeypatch: pytest.MonkeyPatch, now: list[float]
) -> None:
    responds = threading.Event()
    reads = counting(shop, monkeypatch, wait=lambda: responds.wait(60))
    registry, bus = CollectorRegistry(), collector(shop.store.backend, patience=0.05)
    registry.register(bus)
    text = scraped(registry)
    assert "celeriac_up 0.0" in text and "celeriac_processed" not in text
    responds.set()
    monkeypatch.setattr(bus, "_patience", 20)
    assert "celeriac_processed_total" in scraped(registry)
    assert 1 == len(reads), "the reading continued for the next scrape"


def test_an_unreachable_redis_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    bus = EventBus(service="billing", redis_url="redis://127.0.0.1:1/0")
    registry = CollectorRegistry()
    registry.register(collector(bus.service.backend))
    assert "celeriac_up 0.0" in scraped(registry)
    assert "reading metrics failed: ConnectionError" in caplog.text


def counting(
    shop: MemoryBus, monkeypatch: pytest.MonkeyPatch, wait: Callable[[], bool] = lambda: True
) -> list[object]:
    """Record the readings, and let each of them wait."""
    reads: list[object] = []
    deliveries = shop.store.backend.deliveries
    counters = deliveries.counters

    def slowly(*args: Any) -> Any:
        reads.append(args)
        assert wait()
        return counters(*args)

    monkeypatch.setattr(deliveries, "counters", slowly)
    return reads
