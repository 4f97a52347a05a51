"""The catalogue: prices come from the supplier every night."""

from __future__ import annotations

from collections.abc import Iterator

from config import app, bus
from config.events import ProductRepriced


@app.task
def import_prices(products: int = 10_000) -> int:
    """Publishes the supplier's price list, one event a product; returns how many.

    `emit_many` pipelines them and takes any iterable, so the list is never in memory as a whole.
    """
    return bus.emit_many(
        {"type": "product.repriced", "data": product, "subject": f"product/{product.sku}"}
        for product in price_list(products)
    )


def price_list(products: int) -> Iterator[ProductRepriced]:
    """The supplier's list, played."""
    for number in range(products):
        cents = 999 + number % 500 * 10
        yield ProductRepriced(sku=f"SKU-{number:06}", cents=cents, currency="EUR")
