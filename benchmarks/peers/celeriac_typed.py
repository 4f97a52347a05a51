"""celeriac with data of a model; with BENCH_CONTRACT it is that version, 1 or 2, of a contract.

With BENCH_DATASCHEMA its events have the attribute of a contract, but there is none.
"""

from __future__ import annotations

import os
from typing import Any

import msgspec

from benchmarks.payload import ORDER
from benchmarks.peers import work
from celeriac import Event, EventBus
from celeriac.contract import contract, upcast

bus = EventBus(service=work.SERVICE, redis_url=work.URL)
app = bus.app


class Order(msgspec.Struct, frozen=True):
    order: str
    customer: int
    total: str
    currency: str
    sku: str


_version = int(os.environ.get("BENCH_CONTRACT", "0"))
if _version:
    contract("order.placed", version=_version, owner=work.SERVICE)(Order)
if _version > 1:

    @upcast("order.placed", 1)
    def with_currency(data: dict[str, Any]) -> dict[str, Any]:
        return data | {"currency": "EUR"}


_emission: dict[str, Any] = {"type": "order.placed"}
if "BENCH_DATASCHEMA" in os.environ:
    _emission["dataschema"] = "urn:celeriac:order.placed:2"
_order = msgspec.convert(ORDER, Order)
_counted: dict[str, Any] = {}


@bus.on("order.placed", start="beginning")
def handle(event: Event[Order]) -> None:
    work.handle(_counted)


def emit(data: Any) -> None:
    """Emit the model's order; `data` is the same order as a dict."""
    bus.emit(**_emission, data=_order)


def fill(events: int) -> None:
    bus.emit_many({**_emission, "data": _order} for _ in range(events))
