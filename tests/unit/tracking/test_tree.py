"""The tree of causes and effects, from whichever of its events one begins."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from celeriac.event import MAX_EMITTED
from celeriac.store.memory.clock import MemoryClock
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.tracking import DeliveryState, Matrix
from tests.unit.tracking.shop import Shop


@pytest.fixture
def chain(shop: Shop) -> Shop:
    """order.placed → payment.captured → shipment.sent, and two mails that lead to nothing."""

    def emits(*types: str) -> Any:
        def function(event: Any) -> None:
            for type in types:
                shop.emit(type, id=f"{event.id}>{type}")

        return function

    shop.on("billing.charge", "order.placed", function=emits("payment.captured"))
    shop.on("shipping.send", "payment.captured", function=emits("shipment.sent"))
    shop.on("mail.write", "order.*", "payment.*", "shipment.*")
    shop.start()
    shop.emit("order.placed", id="o")
    for _ in range(4):
        shop.run_until_idle()
    return shop


PLACED, CAPTURED = "o", "o>payment.captured"
SENT = "o>payment.captured>shipment.sent"


@pytest.mark.parametrize("begin", [PLACED, CAPTURED, SENT])
def test_it_is_the_same_tree_from_each_event(chain: Shop, matrix: Matrix, begin: str) -> None:
    found = matrix.causes(matrix.find(begin))
    ids = {node.key: node.id for node in found.nodes}
    assert [(0, PLACED, None, ""), (1, CAPTURED, PLACED, "billing.charge"),
            (2, SENT, CAPTURED, "shipping.send")] == [
        (node.depth, node.id, ids.get(node.parent or ""), node.handler) for node in found.nodes
    ]  # fmt: skip
    assert 0 == found.unseen
    assert all({DeliveryState.PROCESSED} == {c.state for c in node.cells} for node in found.nodes)


@pytest.mark.parametrize("given", [{"id": "p"}, {}], ids=["given id", "made id"])
def test_an_emitted_event_without_a_record_is_found_in_the_log(
    shop: Shop, matrix: Matrix, given: dict[str, Any]
) -> None:
    emitted: list[str] = []

    def charge(_: Any) -> None:
        if isinstance(shop.backend.event_log, MemoryEventLog):
            shop.backend.event_log.clock = MemoryClock()  # the time is now
        emitted.append(shop.emit("payment.captured", **given))

    shop.on("billing.charge", "order.placed", function=charge)
    shop.start()
    shop.emit("order.placed", id="o")
    shop.run_until_idle()
    _, effect = matrix.causes(matrix.find("o")).nodes
    assert emitted == [effect.id]
    assert matrix.find(effect.id).entry == effect.entry


def test_an_effect_that_is_delayed_has_no_entry(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "order.placed", function=lambda e: shop.emit("order.due", delay=60))
    shop.start()
    shop.emit("order.placed", id="o")
    shop.run_until_idle()
    _, effect = matrix.causes(matrix.find("o")).nodes
    assert (None, ()) == (effect.entry, effect.cells)


def test_a_cause_that_is_no_longer_in_the_log_is_gone(shop: Shop, matrix: Matrix) -> None:
    shop.emit("order.placed", id="o", causationid="trimmed")
    first, second = matrix.causes(matrix.find("o")).nodes
    assert (True, "trimmed", 0) == (first.gone, first.id, first.depth)
    assert ("o", "trimmed", 1) == (second.id, second.parent, second.depth)


def test_events_that_cause_each_other_end(shop: Shop, matrix: Matrix) -> None:
    shop.on("a.b", "order.*")
    shop.start()
    shop.emit("order.x", id="one", causationid="two")
    shop.emit("order.y", id="two", causationid="one")
    shop.run_until_idle()
    assert {"one", "two"} == {node.id for node in matrix.causes(matrix.find("one")).nodes}


def test_a_tree_without_end_is_cut(
    shop: Shop, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    def many(event: Any) -> None:
        for n in range(9):
            shop.emit("payment.captured", id=f"p{n}")

    shop.on("billing.charge", "order.placed", function=many)
    shop.start()
    shop.emit("order.placed", id="o")
    shop.run_until_idle()

    monkeypatch.setattr(sys.modules["celeriac.tracking.tree"], "MAX_NODES", 5)
    found = matrix.causes(matrix.find("o"))
    assert (5, 5) == (len(found.nodes), found.unseen)


def test_what_was_emitted_beyond_the_effects_that_have_a_name_is_counted(
    shop: Shop, matrix: Matrix
) -> None:
    def emits_many(event: Any) -> None:
        for n in range(MAX_EMITTED + 7):
            shop.emit("payment.captured", id=f"p{n}")

    shop.on("billing.charge", "order.placed", function=emits_many)
    shop.start()
    shop.emit("order.placed", id="o")
    shop.run_until_idle()
    found = matrix.causes(matrix.find("o"))
    assert 1 + MAX_EMITTED + 7 == len(found.nodes) + found.unseen


def test_effects_that_keep_the_id_of_their_cause_are_events_of_their_own(
    shop: Shop, matrix: Matrix
) -> None:
    """An id that is handed on, as an idempotency key is."""

    def hand_on(type: str, source: str) -> Any:
        return lambda event: shop.emit(type, id=event.id, source=source)

    shop.on("billing.charge", "order.placed", function=hand_on("payment.captured", "billing"))
    shop.on("shipping.send", "payment.captured", function=hand_on("order.sent", "shipping"))
    shop.on("mail.write", "order.sent")
    shop.start()
    shop.emit("order.placed", id="x", source="shop")
    for _ in range(4):
        shop.run_until_idle()
    assert 3 == len(matrix.find_all("x"))
    trees = [matrix.causes(one).nodes for one in matrix.find_all("x")]
    assert trees[0] == trees[1] == trees[2]
    types = {node.key: node.type for node in trees[0]}
    assert [
        ("order.placed", None, ""),
        ("payment.captured", "order.placed", "billing.charge"),
        ("order.sent", "payment.captured", "shipping.send"),
    ] == [(node.type, types.get(node.parent or ""), node.handler) for node in trees[0]]
    assert all({DeliveryState.PROCESSED} == {c.state for c in node.cells} for node in trees[0])
