"""One event's row of the matrix, while the event goes its way."""

from __future__ import annotations

from time import sleep
from typing import Any

import pytest

from celeriac import Debounce, NotFound
from celeriac.event import new_event_id
from celeriac.settings import Settings
from celeriac.store.factory import Backend, redis_backend
from celeriac.tracking import DeliveryState, Matrix
from tests.unit.tracking.shop import Shop


def states(matrix: Matrix, event_id: str) -> dict[str, str]:
    return {cell.handler: cell.state.value for cell in matrix.status(event_id).cells}


def fail(_: Any) -> None:
    raise ValueError("no")


def test_the_walk_of_an_event_through_three_handlers(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "order.placed")
    shop.on("billing.audit", "order.#", when=lambda event: event.data["n"] > 1)
    shop.on("mail.send", "order.placed", retries=1, backoff=600.0, function=fail)
    shop.start()

    id = shop.emit("order.placed", {"n": 1})
    assert states(matrix, id) == {
        "billing.audit": "waiting", "billing.charge": "waiting", "mail.send": "waiting",
    }  # fmt: skip

    shop.dispatch("billing")
    assert states(matrix, id) == {
        "billing.audit": "skipped", "billing.charge": "queued", "mail.send": "waiting",
    }  # fmt: skip

    shop.run()
    shop.run_until_idle()
    found = matrix.status(id)
    assert states(matrix, id) == {
        "billing.audit": "skipped", "billing.charge": "processed", "mail.send": "scheduled",
    }  # fmt: skip
    due = found.cells[2]
    assert due.attempts == 1
    assert due.error == "ValueError: no"
    assert [failure.attempt for failure in due.failures] == [1]
    assert due.due_ms is not None
    assert due.due_ms > found.time_ms


def test_a_delivery_is_seen_running(shop: Shop, matrix: Matrix) -> None:
    seen: list[str] = []

    def look(event: Any) -> None:
        seen.append(states(matrix, event.id)["billing.charge"])

    shop.on("billing.charge", "order.placed", function=look)
    shop.start()
    shop.emit("order.placed")
    shop.run_until_idle()
    assert ["running"] == seen


def test_ordered_events_behind_a_failed_one_are_blocked(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.book", "order.#", ordered=True, backoff=600.0, function=fail)
    shop.start()
    first, second = (shop.emit("order.placed", subject="order/1") for _ in range(2))
    shop.run_until_idle()
    shop.run_until_idle()
    assert {"billing.book": "scheduled"} == states(matrix, first)
    assert {"billing.book": "blocked"} == states(matrix, second)


def test_a_given_up_delivery_is_dead(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "order.placed", retries=0, function=fail)
    shop.start()
    id = shop.emit("order.placed")
    shop.run_until_idle()
    assert {"billing.charge": "dead"} == states(matrix, id)


def test_handler_references_narrow_the_row(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "order.placed")
    shop.on("mail.send", "order.placed")
    shop.start()
    id = shop.emit("order.placed", handlers=["mail.send"])
    shop.run_until_idle()
    assert {"mail.send": "processed"} == states(matrix, id)


def test_an_event_before_a_handler_joined_is_not_expected_of_it(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    before = shop.emit("order.placed")
    shop.on("mail.send", "order.placed")
    shop.start()
    shop.run_until_idle()
    assert {"billing.charge": "processed"} == states(matrix, before)


def test_a_replayed_event_has_a_cell_though_it_came_before(
    shop: Shop, backend: Backend, matrix: Matrix
) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    before = shop.emit("order.placed")
    shop.on("mail.send", "order.placed")
    shop.start()
    group = shop.services["mail"].handlers["mail.send"].group("order")
    entry = matrix.find(before).entry
    assert entry is not None
    assert 1 == backend.deliveries.replay(group, [(entry, before)])
    assert "scheduled" == states(matrix, before)["mail.send"]
    shop.run_until_idle()
    assert "processed" == states(matrix, before)["mail.send"]


def test_a_delivery_without_a_trace_is_missing(
    shop: Shop, backend: Backend, matrix: Matrix
) -> None:
    """As after a restore of an old copy: the group was given the event, and no worker has it."""
    shop.on("billing.charge", "order.placed")
    shop.start()
    id = shop.emit("order.placed")
    shop.run_until_idle()
    assert {"billing.charge": "processed"} == states(matrix, id)
    backend.deliveries.forget(shop.services["billing"].handlers["billing.charge"].group("order"))
    found = matrix.status(id)
    assert ["missing"] == [cell.state for cell in found.cells]
    assert 1 == matrix.totals().missing


def test_a_handler_without_its_group_misses_the_event(
    shop: Shop, backend: Backend, matrix: Matrix
) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    backend.event_log.leave("order", "billing.charge")
    assert {"billing.charge": "missing"} == states(matrix, shop.emit("order.placed"))


def test_an_event_of_a_new_domain_waits_for_a_wildcard_that_is_down(
    shop: Shop, matrix: Matrix
) -> None:
    shop.on("audit.store", "#")
    shop.emit("order.placed")
    shop.start()
    id = shop.emit("parcel.sent")
    assert {"audit.store": "waiting"} == states(matrix, id)


def test_a_delayed_event_is_found_and_waits(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "order.placed")
    shop.start()
    id = shop.emit("order.placed", {"n": 1}, delay=60)
    found = matrix.status(id)
    assert "delayed" == found.location
    assert found.entry is None
    assert {"billing.charge": "waiting"} == states(matrix, id)


@pytest.mark.parametrize("id", ["my-own-id", "01919191-9191-7191-8191-919191919191"])
def test_an_event_is_found_whatever_time_its_id_has(shop: Shop, matrix: Matrix, id: str) -> None:
    for _ in range(5):
        shop.emit("order.placed")
    shop.emit("order.placed", id=id)
    assert id == matrix.find(id).event.id


def sources(matrix: Matrix, event_id: str, **options: Any) -> list[tuple[str, str]]:
    return sorted((one.domain, one.event.source) for one in matrix.find_all(event_id, **options))


def test_each_event_that_has_the_id_is_found(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "#")
    shop.start()
    for type, source in (("order.placed", "a"), ("order.placed", "b"), ("payment.due", "a")):
        shop.emit(type, id="x", source=source)
        shop.emit(type, id="y", source="c")
    for _ in range(4):
        shop.run_until_idle()
    assert [("order", "a"), ("order", "b"), ("payment", "a")] == sources(matrix, "x")
    assert [("order", "b")] == sources(matrix, "x", source="b")
    assert "b" == matrix.status("x", source="b").source
    with pytest.raises(NotFound, match="event not found: x of the source c"):
        matrix.find("x", source="c")


def test_an_event_is_found_before_a_handler_has_begun_with_it(shop: Shop, matrix: Matrix) -> None:
    """Where another event with its id has a row, its source must be given."""
    shop.on("billing.charge", "order.placed")
    shop.start()
    shop.emit("order.placed", id="x", source="a")
    shop.run_until_idle()
    shop.emit("order.placed", id="x", source="b")
    assert [("order", "a")] == sources(matrix, "x")
    assert [("order", "b")] == sources(matrix, "x", source="b")


def test_each_event_with_one_id_has_cells_of_its_own(shop: Shop, matrix: Matrix) -> None:
    def refuse(event: Any) -> None:
        if event.source == "b":
            raise ValueError("declined")

    shop.on("billing.charge", "order.placed", retries=0, function=refuse)
    shop.start()
    for source in "ab":
        shop.emit("order.placed", id="x", source=source)
    shop.run_until_idle()
    found = {one.event.source: matrix.status_of(one).cells[0] for one in matrix.find_all("x")}
    assert ("processed", "dead") == (found["a"].state, found["b"].state)
    assert ((), 1) == (found["a"].failures, len(found["b"].failures))
    listed = {one.source: one.cells[0] for one in matrix.events()}
    assert (None, "ValueError: declined") == (listed["a"].error, listed["b"].error)
    totals = matrix.totals()
    assert (2, 0, 1, 1) == (totals.emitted, totals.repeated, totals.processed, totals.dead)


@pytest.mark.parametrize("id", ["nope", pytest.param(new_event_id(), id="new")])
def test_an_unknown_event_is_not_found(shop: Shop, matrix: Matrix, id: str) -> None:
    shop.emit("order.placed")
    with pytest.raises(NotFound, match="order"):
        matrix.status(id)


def test_an_event_before_its_pattern_was_added_is_not_expected(
    namespace: str, redis_url: str
) -> None:
    settings = Settings.load({}, redis_url=redis_url, namespace=namespace)
    backend = redis_backend(settings)
    before, after = Shop(backend, settings), Shop(backend, settings)
    before.on("billing.charge", "order.placed")
    before.start()
    placed, early = before.emit("order.placed"), before.emit("order.amended")
    before.run_until_idle()
    sleep(0.01)
    after.on("billing.charge", "order.placed", "order.amended")
    after.start()
    late = after.emit("order.amended")
    after.run_until_idle()
    matrix = Matrix(backend)
    assert {} == states(matrix, early)
    assert states(matrix, placed) == states(matrix, late) == {"billing.charge": "processed"}
    backend.deliveries.forget(after.services["billing"].handlers["billing.charge"].group("order"))
    assert states(matrix, placed) == states(matrix, late) == {"billing.charge": "missing"}


def test_a_coalesced_event_names_the_event_that_was_handled_instead(
    shop: Shop, matrix: Matrix
) -> None:
    shop.on("search.index", "doc.changed", debounce=Debounce(600, 600))
    shop.start()
    first, second = (shop.emit("doc.changed", subject="doc/1") for _ in range(2))
    shop.run_until_idle()
    [cell] = matrix.status(first).cells
    assert (DeliveryState.COALESCED, second, 0) == (cell.state, cell.into, cell.attempts)
    assert {"search.index": "blocked"} == states(matrix, second)
    assert [first] == [event.id for event in matrix.events(state=DeliveryState.COALESCED)]
    totals = matrix.totals()
    assert (2, 1, 1) == (totals.expected, totals.in_flight, totals.coalesced)
