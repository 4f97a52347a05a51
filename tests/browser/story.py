"""A shop's morning: orders that are paid, declined, retried, given up, or still under way."""

from __future__ import annotations

from typing import Any

from celeriac.errors import Retry
from celeriac.event import current_attempt
from tests.unit.tracking.shop import Shop


class GatewayDown(ConnectionError):
    pass


class UnknownCard(Exception):
    pass


class Repaired:
    """Whether the cause was fixed, so that no handler fails any more."""

    done = False


def subscribe(shop: Shop, repaired: type[Repaired] = Repaired) -> None:
    """Subscribe four services. In billing every 7th order fails permanently, every 5th once."""

    def charge(event: Any) -> None:
        n = event.data["number"]
        if n % 7 == 0 and not repaired.done:
            raise UnknownCard(f"no card on file for order {n}")
        if n % 5 == 0 and current_attempt() == 1 and not repaired.done:
            raise GatewayDown("payments.example.com:443 timed out after 5.0 s")
        shop.emit(
            "payment.captured", {"number": n}, subject=event.subject,
            id=f"{event.id}.payment", causationid=event.id, correlationid=event.id,
        )  # fmt: skip

    def send(event: Any) -> None:
        shop.emit(
            "shipment.sent", event.data, subject=event.subject,
            id=f"{event.id}.shipment", causationid=event.id, correlationid=event.correlationid,
        )  # fmt: skip

    def write(event: Any) -> None:
        if event.type == "shipment.sent" and event.data["number"] % 11 == 0 and not repaired.done:
            raise Retry("the mail server is busy", after=600)

    shop.on("billing.charge_card", "order.placed", function=charge, retries=2, backoff=0.0)
    shop.on("billing.book", "payment.*")
    shop.on("shipping.send_parcel", "payment.captured", function=send)
    shop.on("notifications.send_mail", "order.placed", "payment.*", "shipment.sent", function=write)
    shop.on("analytics.count_events", "order.*", "payment.*", "shipment.*")


def settle(shop: Shop, *, turns: int = 8) -> None:
    """Until nothing more comes of what was emitted."""
    for _ in range(turns):
        shop.run_until_idle()


def tell(shop: Shop, orders: int = 30) -> dict[str, str]:
    """Emit and handle the orders; return the ids of typical ones."""
    subscribe(shop)
    shop.start()
    ids = [
        shop.emit(
            "order.placed",
            {"number": n, "email": f"customer{n}@example.com", "card": "tok_4f", "cents": 1990},
            subject=f"order/{n}",
        )
        for n in range(1, orders + 1)
    ]
    settle(shop)
    late = shop.emit("order.placed", {"number": 1003}, subject="order/1003")
    return {"dead": ids[6], "chain": ids[0], "retried": ids[4], "late": late}
