"""Import the supplier's prices every night."""

from __future__ import annotations

from collections.abc import Iterator

from config import app, bus
from config.events import ProductRepriced


@app.task
def import_prices(products: int = 10_000) -> int:
    """Emit an event for each product of the price list, and return the number of events.

    `emit_many` accepts any iterable and pipelines the events: the list is never in memory at once.
    """
    return bus.emit_many(
        {"type": "product.repriced", "data": product, "subject": f"product/{product.sku}"}
        for product in price_list(products)
    )


def price_list(products: int) -> Iterator[ProductRepriced]:
    """Return a simulated price list."""
    for number in range(products):
        cents = 999 + number % 500 * 10
        yield ProductRepriced(sku=f"SKU-{number:06}", cents=cents, currency="EUR")
