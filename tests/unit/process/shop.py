"""An order's fulfilment, as the tests run it: payment, stock, parcel, a deadline and undo."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec

from celeriac import Event
from celeriac.process import Process, on, reminded, starts


class Placed(msgspec.Struct):
    cents: int


class State(msgspec.Struct):
    cents: int = 0
    paid: bool = False
    picked: bool = False


def fulfilment(inbox: Any, **options: Any) -> type[Process[State]]:
    """Return a new class of the process."""

    class Fulfilment(Process[State], inbox=inbox, **options):
        """Ship an order once it is paid."""

        @starts("order.placed")
        def placed(self, event: Event[Placed]) -> None:
            self.state.cents = event.data.cents
            self.emit("payment.asked", {"cents": event.data.cents}, undo=("payment.refund", "all"))
            self.remind("unpaid", after=timedelta(days=1))

        @on("payment.captured")
        def paid(self, event: Event) -> None:
            self.state.paid = True
            self.forget("unpaid")
            self.emit("stock.asked", undo="stock.returned")

        @on("stock.picked")
        def picked(self, event: Event) -> None:
            self.state.picked = True
            self.emit("parcel.asked")

        @on("payment.failed", "stock.missing")
        def failed(self, event: Event) -> None:
            self.abort(event.type)

        @reminded("unpaid")
        def unpaid(self) -> None:
            self.abort("not paid in a day")

        @on("parcel.sent")
        def sent(self, event: Event) -> None:
            self.complete()
            self.emit("order.fulfilled")

    return Fulfilment
