"""The matrix as a whole: lists, lag and totals."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from celeriac import SubscriptionError
from celeriac.settings import Settings
from celeriac.store.factory import Backend
from celeriac.store.memory.clock import MemoryClock
from celeriac.store.memory.deliveries import MemoryDeliveryStore
from celeriac.tracking import DeliveryState, Matrix
from tests.unit.tracking.shop import Shop, memory_backend


def fail(_: Any) -> None:
    raise ValueError("no")


def test_events_come_newest_first_over_all_domains(shop: Shop, matrix: Matrix) -> None:
    ids = [shop.emit(type) for type in ("order.placed", "payment.captured", "order.cancelled")]
    found = matrix.events()
    assert dict.fromkeys(ids, True) == {one.id: True for one in found}
    times = [one.time_ms for one in found]
    assert sorted(times, reverse=True) == times


def test_events_are_filtered(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "order.placed", retries=0, function=fail)
    shop.start()
    placed = shop.emit("order.placed")
    cancelled = shop.emit("order.cancelled")
    shop.emit("payment.captured")
    shop.run_until_idle()
    assert [cancelled] == [one.id for one in matrix.events(pattern="*.cancelled")]
    assert {placed, cancelled} == {one.id for one in matrix.events(pattern="order.#")}
    assert [placed] == [one.id for one in matrix.events(state=DeliveryState.DEAD)]
    assert 2 == len(matrix.events(domain="order"))
    assert 1 == len(matrix.events(limit=1))
    assert [] == matrix.events(since=datetime.now(UTC) + timedelta(minutes=1))
    with pytest.raises(SubscriptionError):
        matrix.events(pattern="order.[")


def test_a_page_has_the_cells_of_each_event(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "order.placed")
    shop.on("mail.send", "order.#")
    shop.start()
    for _ in range(5):
        shop.emit("order.placed")
        shop.emit("order.cancelled")
    shop.run_until_idle("billing")
    cells = {(one.type, c.handler, c.state) for one in matrix.events() for c in one.cells}
    assert cells == {
        ("order.placed", "billing.charge", "processed"),
        ("order.placed", "mail.send", "waiting"),
        ("order.cancelled", "mail.send", "waiting"),
    }


def test_invalid_entries_are_skipped(shop: Shop, backend: Backend, matrix: Matrix) -> None:
    shop.emit("order.placed")
    backend.event_log.append("order", b"no event")
    assert 1 == len(matrix.events())
    assert 1 == matrix.totals().invalid


def test_totals_count_every_delivery_once(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "order.placed", when=lambda event: event.data["n"] < 3)
    shop.on("mail.send", "order.placed", retries=0, function=fail)
    shop.on("audit.store", "#")
    shop.start()
    for n in range(4):
        shop.emit("order.placed", {"n": n})
    shop.emit("order.placed", {"n": 0}, id="twice")
    # As a foreign producer repeats it.
    [entry] = shop.backend.event_log.read("order", count=1, newest_first=True)
    shop.backend.event_log.append("order", entry.body or b"")
    shop.emit("order.placed", {"n": 1}, delay=60)
    shop.run_until_idle("billing", "mail")
    shop.run_until_idle("billing", "mail")
    told: list[tuple[int, int]] = []
    found = matrix.totals(progress=lambda done, of: told.append((done, of)))
    assert (6, 6) == told[-1]
    assert 1 == found.delayed
    assert 4 == found.processed  # n = 0, 1, 2 and the doubled one
    assert 1 == found.skipped
    assert 5 == found.dead
    assert 0 == found.missing
    parts = found.waiting + found.in_flight + found.processed + found.skipped + found.dead
    assert found.expected == parts

    shop.run_until_idle()
    shop.run_until_idle()
    found = matrix.totals()
    assert (5, 1) == (found.emitted, found.repeated)
    assert 15 == found.expected
    assert (9, 1, 5, 0) == (found.processed, found.skipped, found.dead, found.waiting)


def test_lag_counts_deliveries_by_state(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "order.placed")
    shop.on("mail.send", "order.placed", retries=0, function=fail)
    shop.on("crm.note", "order.placed", backoff=600.0, function=fail)
    shop.start()
    for _ in range(3):
        shop.emit("order.placed")
    shop.run_until_idle("mail", "crm")
    shop.run_until_idle("mail", "crm")
    shop.dispatch("billing")
    found = {one.handler: one for one in matrix.lag()}
    billing, mail, crm = (found[name] for name in ("billing.charge", "mail.send", "crm.note"))
    assert 3 == billing.waiting + billing.queued == billing.unfinished
    assert billing.queued > 0
    assert billing.oldest_s is not None
    assert (3, 3, 0) == (mail.dead, mail.failed, mail.unfinished)
    assert mail.oldest_s is None
    assert (3, 3) == (crm.scheduled, crm.retried)


def test_lag_names_groups_that_are_nobodys_and_handlers_without_one(
    shop: Shop, backend: Backend, matrix: Matrix
) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    backend.event_log.leave("order", "billing.charge")
    backend.event_log.join("order", "old.handler", "0")
    shop.emit("order.placed")
    found = {one.handler: one for one in matrix.lag()}
    assert (False, True) == (found["billing.charge"].joined, found["billing.charge"].registered)
    assert (True, False) == (found["old.handler"].joined, found["old.handler"].registered)
    assert 1 == found["old.handler"].waiting


def test_answers_are_json(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "order.placed", retries=0, function=fail)
    shop.start()
    id = shop.emit("order.placed", {"n": [1, "é"]})
    shop.run_until_idle()
    plain = msgspec.json.decode(msgspec.json.encode(matrix.status(id)))
    assert {"n": [1, "é"]} == plain["data"]
    assert "dead" == plain["cells"][0]["state"]
    assert msgspec.json.encode([matrix.events(), matrix.lag(), matrix.totals()])


def test_a_delivery_with_an_expired_record_is_not_missing() -> None:
    settings, clock = Settings.load({}, dedup_window=60), MemoryClock()
    backend = memory_backend(settings, clock)
    assert isinstance(backend.deliveries, MemoryDeliveryStore)
    shop, matrix = Shop(backend, settings), Matrix(backend)
    # Deliveries with a limit have rows, which are forgotten.
    shop.on("billing.charge", "order.placed", concurrency=5)
    shop.start()
    id = shop.emit("order.placed")
    shop.run_until_idle()
    clock.advance(180_000)
    assert ["forgotten"] == [cell.state for cell in matrix.status(id).cells]
    assert (0, 1) == (matrix.totals().missing, matrix.totals().forgotten)
