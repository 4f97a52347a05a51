"""What the matrix page shows for a handler and an event type."""

from __future__ import annotations

from celeriac.flower.view.matrix import behind, columns, squares, wanted_types
from celeriac.settings import Settings
from celeriac.tracking import HandlerView, Matrix, TypeView
from tests.unit.tracking.shop import Shop, memory_backend


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
        shop.run_until_idle()
    [view] = Matrix(shop.backend).overview()
    assert [] == behind(view)


def test_of_many_types_the_busiest_have_a_column() -> None:
    def view(*types: TypeView) -> HandlerView:
        return HandlerView(
            handler="billing.charge", service="billing", patterns=("order.quiet",), ordered=False,
            registered=True, lags=(), types=types, minutes=(), rate=0.0, failing=None,
            p95_s=None, wait_p95_s=None, run_p95_s=None,
        )  # fmt: skip

    many = [TypeView(type=f"order.t{n:03}", processed=n + 1) for n in range(100)]
    failed = TypeView(type="order.failed", dead=1)
    types, more = columns([view(*many, failed), view(many[0])])
    assert (60, 42) == (len(types), more)
    assert "order.failed" in types and "order.t099" in types
    assert not {"order.t000", "order.quiet"} & {*types}
    assert sorted(types) == types
    assert (["order.quiet"], 0) == columns([view()])
