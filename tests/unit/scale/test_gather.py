"""The load of a service, read from its bus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from celeriac import Retry
from celeriac.delivery import Group
from celeriac.errors import ConfigurationError, NotFound
from celeriac.registry import WorkerRecord
from celeriac.scale import HandlerLoad, ScaleReader, ahead
from celeriac.schedule.schedule import make_schedule
from tests.unit.tracking.shop import Shop

CHARGE = "billing.charge"


def load_of(reader: ScaleReader, handler: str = CHARGE, **options: float) -> HandlerLoad:
    answer = reader.read(handler.partition(".")[0], **options)  # type: ignore[arg-type]
    return next(work.load for work in answer.handlers if work.load.handler == handler)


def retry_after(seconds: float) -> Callable[[object], None]:
    def fail(_: object) -> None:
        raise Retry(after=seconds)

    return fail


def send_heartbeat(shop: Shop, service: str, **changes: Any) -> WorkerRecord:
    """Send the heartbeat of a worker with these differences."""
    record = msgspec.structs.replace(shop.record(shop.services[service]), **changes)
    shop.backend.registry.heartbeat(record)
    return record


def test_an_idle_service_needs_no_worker(shop: Shop, reader: ScaleReader) -> None:
    shop.on(CHARGE, "order.placed")
    shop.start()
    assert reader.read("billing").workers == 0


def test_wanted_entries_are_ahead_until_they_are_fetched(shop: Shop, reader: ScaleReader) -> None:
    shop.on(CHARGE, "order.placed")
    shop.on("billing.audit", "order.#")
    shop.on("mail.send", "order.placed")
    shop.start()
    for n in range(30):
        shop.emit("order.placed" if n % 3 else "order.cancelled")
    shop.emit("order.placed", handlers=["mail.send"])
    assert [load_of(reader, name).ahead for name in (CHARGE, "billing.audit")] == [20, 30]
    assert load_of(reader, "mail.send").ahead == 21
    shop.dispatch()
    now = load_of(reader)
    assert now.ahead + now.queued == 20
    assert now.queued > 0
    shop.run_until_idle()
    assert reader.read("billing").workers == 0


def test_the_run_time_is_that_which_the_workers_measured(shop: Shop, reader: ScaleReader) -> None:
    shop.on(CHARGE, "order.placed")
    shop.start()
    assert load_of(reader).mean_us == 0
    shop.emit("order.placed")
    shop.run_until_idle()
    [stats] = shop.backend.deliveries.stats_many([Group("order", CHARGE)])
    assert load_of(reader).mean_us == stats["mean_us"] > 0


def test_scheduled_deliveries_count_by_when_they_are_due(shop: Shop, reader: ScaleReader) -> None:
    shop.on(CHARGE, "order.placed", retries=5, function=retry_after(100))
    shop.start()
    shop.emit("order.placed")
    shop.run_until_idle()
    for cooldown, drain_target, due, later in ((50, 30, 0, 0), (300, 30, 0, 1), (300, 200, 1, 0)):
        load = load_of(reader, cooldown=cooldown, drain_target=drain_target)
        assert (load.due, load.later) == (due, later), cooldown
    assert reader.read("billing", cooldown=50).workers == 0
    assert reader.read("billing", cooldown=300).workers == 1


def test_delayed_events_count_for_the_handlers_that_want_them(
    shop: Shop, reader: ScaleReader
) -> None:
    shop.on(CHARGE, "order.placed")
    shop.on("billing.other", "order.cancelled")
    shop.start()
    for delay in (10, 100, 100, 1_000):
        shop.emit("order.placed", delay=delay)
    load, other = load_of(reader), load_of(reader, "billing.other")
    assert (load.due, load.later) == (1, 2)
    assert (other.due, other.later) == (0, 0)


def test_many_delayed_events_are_counted_up_to_a_bound(shop: Shop, reader: ScaleReader) -> None:
    shop.on(CHARGE, "order.placed")
    shop.start()
    for _ in range(250):
        shop.emit("order.placed", delay=10)
    assert load_of(reader).due == 250


def test_deliveries_that_wait_for_their_key_are_blocked(shop: Shop, reader: ScaleReader) -> None:
    shop.on(CHARGE, "order.placed", ordered=True)
    shop.start()
    for _ in range(5):
        shop.emit("order.placed", subject="order/1")
    shop.dispatch()
    load = load_of(reader)
    assert load.queued == 1
    assert load.blocked >= 1
    assert load.backlog == 5


def test_a_paused_handler_needs_no_worker(shop: Shop, reader: ScaleReader) -> None:
    shop.on(CHARGE, "order.placed")
    shop.start()
    shop.emit("order.placed")
    shop.backend.circuits.pause(CHARGE)
    assert load_of(reader).is_paused
    assert reader.read("billing").workers == 0
    shop.backend.circuits.pause(CHARGE, for_ms=60_000)
    assert reader.read("billing", cooldown=30).workers == 0
    assert reader.read("billing", cooldown=120).workers == 1


def test_limits_of_the_handler_are_read(shop: Shop, reader: ScaleReader) -> None:
    shop.on(CHARGE, "order.placed", concurrency=3, rate_limit="600/m")
    shop.start()
    load = load_of(reader)
    assert (load.concurrency, load.per_second) == (3, 10)


def test_only_the_handlers_of_a_queue_are_counted(shop: Shop, reader: ScaleReader) -> None:
    shop.on(CHARGE, "order.placed")
    shop.on("billing.report", "order.placed", queue="slow")
    shop.start()
    shop.emit("order.placed")
    names = [
        [work.load.handler for work in reader.read("billing", queue=queue).handlers]
        for queue in ("slow", "billing", "no such queue")
    ]
    assert names == [["billing.report"], [CHARGE], []]


def test_a_handler_that_no_running_worker_has_in_its_code_needs_no_worker(
    shop: Shop, reader: ScaleReader
) -> None:
    shop.on(CHARGE, "order.placed")
    shop.on("billing.renamed", "order.placed")
    shop.start()
    shop.emit("order.placed")
    shop.dispatch()
    shop.run()
    shop.emit("order.placed")
    worker = send_heartbeat(shop, "billing", handlers=(CHARGE,))
    assert load_of(reader).is_in_code
    assert not load_of(reader, "billing.renamed").is_in_code
    send_heartbeat(shop, "billing", handlers=(CHARGE,), unserved={"billing.renamed": "slow"})
    assert load_of(reader, "billing.renamed").is_in_code
    shop.backend.registry.depart(worker.name)
    assert load_of(reader, "billing.renamed").is_in_code


def test_the_processes_are_those_that_a_worker_reported(shop: Shop, reader: ScaleReader) -> None:
    shop.on(CHARGE, "order.placed")
    shop.start()
    assert reader.read("billing").target.processes == 1
    shop.backend.registry.depart(shop.services["billing"].worker)
    for name, processes in (("a", 8), ("b", 4), ("dispatcher", 0)):
        send_heartbeat(shop, "billing", name=name, processes=processes)
    assert reader.read("billing").target.processes == 4
    assert reader.read("billing", processes=2).target.processes == 2


def test_a_tick_within_the_cooldown_needs_a_worker(shop: Shop, reader: ScaleReader) -> None:
    now = shop.backend.registry.now_ms()
    shop.backend.event_log.register_domains(["report"])
    schedule = make_schedule("report.due", service="reports", every=3600)
    shop.backend.schedules.declare(schedule, now + 200_000)
    assert reader.read("reports", cooldown=100).workers == 0
    answer = reader.read("reports", cooldown=300)
    assert (answer.workers, answer.ticks[0].name) == (1, "reports:report.due")
    assert not answer.ticks[0].is_overdue


def test_an_unknown_service_is_refused_and_the_known_ones_are_named(
    shop: Shop, reader: ScaleReader
) -> None:
    with pytest.raises(NotFound, match=r"Services with handlers: none\."):
        reader.read("biling")
    shop.on(CHARGE, "order.placed")
    shop.start()
    with pytest.raises(NotFound, match=r"service not found: biling\. .*handlers: billing\."):
        reader.read("biling")


def test_a_number_out_of_range_is_refused(reader: ScaleReader) -> None:
    with pytest.raises(ConfigurationError, match="drain_target is out of range: 0"):
        reader.read("billing", drain_target=0)


def test_a_domain_that_begins_while_no_worker_runs_is_counted(
    shop: Shop, reader: ScaleReader
) -> None:
    """Without a worker, the handler has no consumer group in it yet."""
    shop.on("audit.store", "#")
    shop.start()
    shop.run_until_idle()
    shop.emit("invoice.sent")
    assert load_of(reader, "audit.store").ahead == 1


class TestALongLog:
    @pytest.fixture(autouse=True)
    def short_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(ahead, "MAX_READ", 20)
        monkeypatch.setattr(ahead, "MAX_READ_UNWANTED", 60)

    def test_the_rest_is_assumed_to_have_the_share_of_the_first_entries(
        self, shop: Shop, reader: ScaleReader
    ) -> None:
        shop.on(CHARGE, "order.placed")
        shop.start()
        for n in range(400):
            shop.emit("order.cancelled" if n % 4 else "order.placed")
        load = load_of(reader)
        assert load.is_estimate
        assert load.ahead == pytest.approx(100, rel=0.1)

    def test_more_is_read_where_nothing_is_wanted(self, shop: Shop, reader: ScaleReader) -> None:
        shop.on(CHARGE, "order.placed")
        shop.start()
        for n in range(50):
            shop.emit("order.placed" if n == 45 else "order.cancelled")
        load = load_of(reader)
        assert (load.ahead, load.is_estimate) == (1, False)

    def test_a_worker_reads_on_where_the_bound_was_reached(
        self, shop: Shop, reader: ScaleReader
    ) -> None:
        shop.on(CHARGE, "order.placed")
        shop.start()
        for _ in range(100):
            shop.emit("order.cancelled")
        load = load_of(reader)
        assert (load.ahead, load.is_unknown) == (0, True)
        assert reader.read("billing").workers == 1

    def test_a_lag_that_redis_cannot_determine_is_counted_up_to_the_bound(
        self, shop: Shop, reader: ScaleReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        shop.on(CHARGE, "order.placed")
        shop.start()
        for _ in range(100):
            shop.emit("order.placed")
        groups = shop.backend.event_log.groups
        monkeypatch.setattr(
            shop.backend.event_log,
            "groups",
            lambda domain: [replace(info, lag=None) for info in groups(domain)],
        )
        load = load_of(reader)
        assert 20 <= load.ahead <= 100
        assert load.is_estimate

    def test_large_events_end_the_reading_earlier(
        self, shop: Shop, reader: ScaleReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ahead, "MAX_BYTES", 10_000)
        monkeypatch.setattr(ahead, "PAGE_BYTES", 2_000)
        reads = []
        read = type(shop.backend.event_log).read

        def counted(self: object, *args: object, **more: object) -> object:
            page = read(self, *args, **more)  # type: ignore[arg-type]
            reads.append(len(page))
            return page

        monkeypatch.setattr(type(shop.backend.event_log), "read", counted)
        shop.on(CHARGE, "order.placed")
        shop.start()
        for _ in range(60):
            shop.emit("order.placed", {"text": "x" * 1_000})
        assert load_of(reader).ahead == 60
        assert sum(reads) < 20


def test_an_entry_that_is_no_event_needs_a_worker(shop: Shop, reader: ScaleReader) -> None:
    """A worker dead-letters it."""
    shop.on(CHARGE, "order.placed")
    shop.start()
    shop.backend.event_log.append("order", b"not an event")
    assert load_of(reader).ahead == 1


def test_reading_changes_nothing(shop: Shop, reader: ScaleReader) -> None:
    shop.on(CHARGE, "order.placed", retries=5, function=retry_after(100))
    shop.start()
    shop.emit("order.placed")
    shop.run_until_idle()
    shop.emit("order.placed", delay=10)
    shop.emit("order.placed")
    groups = shop.backend.event_log.groups("order")
    first = reader.read("billing")
    assert reader.read("billing") == first
    assert shop.backend.event_log.groups("order") == groups
