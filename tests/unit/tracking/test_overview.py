"""What every handler is doing, over its domains."""

from __future__ import annotations

from typing import Any

from celeriac.tracking import Matrix
from tests.unit.tracking.shop import Shop


def fail(_: Any) -> None:
    raise ValueError("no")


def test_a_handler_is_one_line_over_all_its_domains(shop: Shop, matrix: Matrix) -> None:
    shop.on("billing.charge", "order.*", "payment.failed", retries=0)
    shop.on("mail.send", "order.placed", function=fail, retries=0)
    shop.start()
    for type in ("order.placed", "order.placed", "order.amended", "payment.failed"):
        shop.emit(type)
    shop.run_until_idle()
    shop.emit("order.placed")
    charge, send = matrix.overview()
    assert ("billing.charge", "billing", 4, 0) == (
        charge.handler, charge.service, charge.total("processed"), charge.total("dead")
    )  # fmt: skip
    assert [("order.amended", 1), ("order.placed", 2), ("payment.failed", 1)] == [
        (view.type, view.processed) for view in charge.types
    ]
    assert 1 == charge.lag
    assert (0.0, 1.0) == (charge.failing, send.failing)
    assert charge.rate > 0 and charge.p95_s is not None and send.p95_s is None
    assert 60 == len(charge.minutes)
    assert (4, 2) == (
        sum(minute.processed for minute in charge.minutes),
        sum(minute.failed for minute in send.minutes),
    )
    assert charge.wants("order.deleted") and not send.wants("order.deleted")


def test_a_group_that_belongs_to_no_handler_is_listed(shop: Shop, matrix: Matrix) -> None:
    shop.backend.event_log.join("order", "old.handler", "0")
    [orphan] = matrix.overview()
    assert (False, "old", ()) == (orphan.registered, orphan.service, orphan.patterns)
    assert not orphan.wants("order.placed")
