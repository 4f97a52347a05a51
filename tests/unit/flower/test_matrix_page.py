"""What the matrix page shows for a handler and an event type."""

from __future__ import annotations

from celeriac.flower.view.matrix import behind, squares, wanted_types
from celeriac.matrix import Matrix
from celeriac.settings import Settings
from tests.unit.matrix.shop import Shop, memory_backend


def test_a_handler_that_finished_nothing_has_its_column_and_its_lag() -> None:
    """The lag is that of the handler in each domain; a wildcard alone makes no column."""
    shop = Shop(memory_backend(Settings.load({})), Settings.load({}))
    shop.on("billing.charge", "order.placed", "payment.*")
    shop.start()
    for _ in range(2):
        shop.emit("order.placed")
    for _ in range(3):
        shop.emit("payment.captured")
    [view] = Matrix(shop.backend).overview()
    assert {"order.placed"} == wanted_types([view])
    assert [("payment", 3), ("order", 2)] == [(lag.domain, lag.unfinished) for lag in behind(view)]
    [square] = squares(view, ["order.placed"])
    assert square.wanted and square.view is None and "none" == square.tone
    for _ in range(3):
        shop.settle()
    [view] = Matrix(shop.backend).overview()
    assert [] == behind(view)
