"""Orders fulfils each order: payment, stock, parcel. If a step fails, the others are undone."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Annotated

from msgspec import Struct

from celeriac import Event, Sensitive
from celeriac.process import Process, on, reminded, starts
from config import bus
from config.database import Sessions
from config.events import (
    ItemRequested,
    ItemUnavailable,
    OrderEvent,
    OrderPlaced,
    PaymentDeclined,
    PaymentRequested,
)

DAY = 86_400
# How long an order waits for its payment, in seconds.
PAYMENT_DEADLINE = timedelta(seconds=float(os.environ.get("PAYMENT_DEADLINE", DAY)))


class Order(Struct, kw_only=True):
    """What the later steps need of an order."""

    number: int = 0
    email: Annotated[str, Sensitive] = ""
    sku: str = ""


@bus.process
class Fulfilment(Process[Order], inbox=Sessions):
    """Send an order once it is paid and its item is reserved.

    `abort` emits the `undo` events of the steps that were made, the newest first. A step may be
    under way then, so each undo also prevents the step that it undoes.
    """

    @starts("order.placed")
    def placed(self, event: Event[OrderPlaced]) -> None:
        placed = event.data
        self.state = Order(number=placed.number, email=placed.email, sku=placed.sku)
        payment = PaymentRequested(
            number=placed.number, email=placed.email, card=placed.card, cents=placed.cents
        )
        self.emit("order.accepted", self.order, undo=("order.cancelled", self.order))
        self.emit("payment.requested", payment, undo=("payment.refund_requested", self.order))
        self.remind("unpaid", after=PAYMENT_DEADLINE)

    @on("payment.captured")
    def paid(self, event: Event[OrderEvent]) -> None:
        self.forget("unpaid")
        self.emit("order.paid", self.order)
        self.emit("stock.requested", self.item, undo=("stock.release_requested", self.order))

    @on("stock.reserved")
    def reserved(self, event: Event[OrderEvent]) -> None:
        self.emit("shipment.requested", self.item)

    @on("shipment.sent")
    def sent(self, event: Event[OrderEvent]) -> None:
        self.emit("order.completed", self.order)
        self.complete()

    @on("payment.declined")
    def declined(self, event: Event[PaymentDeclined]) -> None:
        self.abort(f"payment declined: {event.data.reason}")

    @on("stock.missing", "shipment.failed")
    def unavailable(self, event: Event[ItemUnavailable]) -> None:
        self.abort(f"item unavailable: {event.data.reason}")

    @reminded("unpaid")
    def unpaid(self) -> None:
        self.abort("not paid in time")

    @property
    def order(self) -> OrderEvent:
        return OrderEvent(number=self.state.number, email=self.state.email)

    @property
    def item(self) -> ItemRequested:
        state = self.state
        return ItemRequested(number=state.number, email=state.email, sku=state.sku)
