"""An order is fulfilled, or aborted and undone, on a bus in memory."""

from __future__ import annotations

from datetime import timedelta

import pytest

from celeriac.process import Status
from celeriac.process.definition import ABORT_REQUESTED
from config.events import OrderEvent, PaymentRequested
from handlers.gateway import (
    DECLINED_CARD,
    GOOD_CARD,
    OUTAGE_CARD,
    UNKNOWN_CARD,
    payments,
    repair,
)
from handlers.warehouse import DAMAGED_SKU, SOLD_OUT_SKU, reservations
from tests.unit.shop.conftest import Shop

FULFILLED = [
    "order.placed", "order.accepted", "payment.requested", "payment.captured", "order.paid",
    "stock.requested", "stock.reserved", "shipment.requested", "shipment.sent", "order.completed",
]  # fmt: skip
NOTHING = {"done": 0, "undone": 0, "cancelled": 0}


def test_a_paid_order_in_stock_is_sent(shop: Shop) -> None:
    key = shop.place()
    shop.memory.run_until_idle()
    shop.memory.assert_no_dead()
    order = shop.instance(key)
    assert (order.status, order.timers, len(order.steps)) == (Status.COMPLETED, {}, 4)
    assert shop.emitted(key) == FULFILLED
    assert payments.counts() == reservations.counts() == NOTHING | {"done": 1}


def test_an_outage_of_the_gateway_is_retried_before_the_deadline(shop: Shop) -> None:
    key = shop.place(card=OUTAGE_CARD)
    assert shop.memory.run_until_idle().retried == 2
    assert shop.emitted(key) == FULFILLED


def test_a_declined_payment_cancels_the_order(shop: Shop) -> None:
    """The refund finds nothing to return, and no stock was requested."""
    key = shop.place(card=DECLINED_CARD)
    shop.memory.run_until_idle()
    shop.memory.assert_no_dead()
    order = shop.instance(key)
    assert (order.status, order.reason) == (
        Status.ABORTED, "payment declined: insufficient funds",
    )  # fmt: skip
    assert shop.emitted(key)[3:] == [
        "payment.declined", "payment.refund_requested", "order.cancelled",
    ]  # fmt: skip
    assert payments.counts() == NOTHING | {"cancelled": 1}
    assert reservations.counts() == NOTHING


def test_a_sold_out_item_is_refunded(shop: Shop) -> None:
    key = shop.place(sku=SOLD_OUT_SKU)
    shop.memory.run_until_idle()
    shop.memory.assert_no_dead()
    assert shop.instance(key).reason == "item unavailable: sold out"
    assert shop.emitted(key)[6:] == [
        "stock.missing", "stock.release_requested", "payment.refund_requested", "order.cancelled",
        "payment.refunded",
    ]  # fmt: skip
    assert payments.counts() == NOTHING | {"undone": 1}
    assert reservations.counts() == NOTHING | {"cancelled": 1}


def test_a_damaged_item_is_released_and_refunded_the_newest_step_first(shop: Shop) -> None:
    key = shop.place(sku=DAMAGED_SKU)
    shop.memory.run_until_idle()
    shop.memory.assert_no_dead()
    order = shop.instance(key)
    assert (order.status, order.reason) == (Status.ABORTED, "item unavailable: damaged")
    assert [type for type, _ in order.steps[-1].emitted] == [
        "stock.release_requested", "payment.refund_requested", "order.cancelled",
    ]  # fmt: skip
    assert {"stock.released", "payment.refunded"} < set(shop.emitted(key))
    assert payments.counts() == reservations.counts() == NOTHING | {"undone": 1}


def test_an_order_that_is_not_paid_in_a_day_is_aborted(shop: Shop) -> None:
    key = shop.place(card=UNKNOWN_CARD)
    shop.memory.run_until_idle(jump=False)
    [dead] = shop.memory.dead
    assert dead.handler == "billing.charge_card"
    assert list(shop.instance(key).timers) == ["unpaid"]
    shop.memory.advance(timedelta(days=1) - timedelta(minutes=1))
    shop.memory.run_until_idle(jump=False)
    assert shop.instance(key).status is Status.OPEN
    shop.memory.advance(timedelta(minutes=1))
    shop.memory.run_until_idle(jump=False)
    order = shop.instance(key)
    assert (order.status, order.reason) == (Status.ABORTED, "not paid in time")
    assert shop.emitted(key)[-2:] == ["payment.refund_requested", "order.cancelled"]
    assert payments.counts() == NOTHING | {"cancelled": 1}


def test_a_charge_that_is_redriven_after_the_deadline_takes_no_money(shop: Shop) -> None:
    key = shop.place(card=UNKNOWN_CARD)
    shop.memory.run_until_idle()
    repair()
    late = PaymentRequested(number=1, email="a@example.com", card=UNKNOWN_CARD, cents=1990)
    shop.emit("orders", "payment.requested", late, key)
    shop.memory.run_until_idle()
    assert shop.emitted(key)[-1] == "payment.declined"
    assert shop.instance(key).reason == "not paid in time"
    assert payments.counts() == NOTHING | {"cancelled": 1}


def test_the_deadline_of_a_paid_order_is_forgotten(shop: Shop) -> None:
    key = shop.place()
    shop.memory.run_until_idle()
    shop.memory.advance(timedelta(days=2))
    shop.memory.run_until_idle()
    assert shop.instance(key).status is Status.COMPLETED
    assert "process.reminded" not in shop.memory.emitted.types


def test_an_operator_aborts_an_order_whose_charge_is_under_way(shop: Shop) -> None:
    """The undo overtakes the charge, which then takes no money."""
    key = shop.place(card=OUTAGE_CARD)
    shop.memory.run_until_idle(jump=False)
    request = {"key": key, "reason": "customer called"}
    bus = shop.modules["orders"].bus
    bus.emit(ABORT_REQUESTED, request, handlers=["orders.fulfilment"])
    shop.memory.run_until_idle()
    shop.memory.assert_no_dead()
    order = shop.instance(key)
    assert (order.status, order.reason) == (Status.ABORTED, "customer called")
    assert shop.emitted(key)[-1] == "payment.declined"
    assert payments.counts() == NOTHING | {"cancelled": 1}


@pytest.mark.parametrize("sku", ["SKU-000001", DAMAGED_SKU])
def test_duplicates_change_nothing(shop: Shop, sku: str) -> None:
    """Neither a producer that emits again, nor a worker that runs each handler again."""
    key = shop.place(sku=sku)
    shop.memory.run_until_idle()
    emitted, order = shop.emitted(key), shop.instance(key)
    books = payments.counts(), reservations.counts()
    assert shop.memory.duplicate_all() and shop.memory.redeliver_all()
    shop.memory.run_until_idle()
    shop.memory.assert_no_dead()
    assert set(shop.emitted(key)) == set(emitted)
    unique = {(event.type, event.id) for event in shop.memory.emitted if event.subject == key}
    assert len(unique) == len(emitted)
    assert shop.instance(key) == order
    assert (payments.counts(), reservations.counts()) == books


@pytest.mark.parametrize("seed", range(8))
def test_events_in_any_order_lead_to_the_same_end(shop: Shop, seed: int) -> None:
    cards_and_skus = [
        (GOOD_CARD, "SKU-000001"), (DECLINED_CARD, "SKU-000001"), (GOOD_CARD, SOLD_OUT_SKU),
        (GOOD_CARD, DAMAGED_SKU), (OUTAGE_CARD, "SKU-000001"),
    ]  # fmt: skip
    keys = [shop.place(n, card, sku) for n, (card, sku) in enumerate(cards_and_skus)]
    shop.memory.run_until_idle(shuffle=seed)
    shop.memory.assert_no_dead()
    assert [shop.instance(key).status.value for key in keys] == [
        "completed", "aborted", "aborted", "aborted", "completed",
    ]  # fmt: skip
    assert payments.counts() == {"done": 2, "undone": 2, "cancelled": 1}
    assert reservations.counts() == {"done": 2, "undone": 1, "cancelled": 1}


def test_a_reply_before_the_order_waits_for_it(shop: Shop) -> None:
    reply = OrderEvent(number=1, email="a@example.com")
    shop.emit("shipping", "stock.reserved", reply, "order/1")
    shop.memory.run_until_idle(jump=False)
    key = shop.place(card=DECLINED_CARD)
    shop.memory.run_until_idle()
    shop.memory.assert_no_dead()
    assert shop.instance(key).status is Status.ABORTED


def test_a_reply_to_an_ended_order_is_skipped(shop: Shop) -> None:
    key = shop.place(card=DECLINED_CARD)
    shop.memory.run_until_idle()
    before = shop.emitted(key)
    reply = OrderEvent(number=1, email="a@example.com")
    shop.emit("shipping", "stock.reserved", reply, key)
    assert shop.memory.run_until_idle().skipped == 1
    assert shop.emitted(key) == [*before, "stock.reserved"]


@pytest.mark.parametrize(
    ("sku", "status"), [("SKU-000001", Status.COMPLETED), (DAMAGED_SKU, Status.ABORTED)]
)
def test_a_worker_that_dies_after_every_handler_repeats_no_effect(
    shop: Shop, sku: str, status: Status
) -> None:
    key = shop.place(sku=sku)
    shop.memory.crash_before_ack(40)
    assert shop.memory.run_until_idle().crashed >= 10
    shop.memory.assert_no_dead()
    assert shop.instance(key).status is status
    ids = {(event.type, event.id) for event in shop.memory.emitted if event.subject == key}
    assert sorted(type for type, _ in ids) == sorted({type for type, _ in ids})
