"""Which edits of a dead letter's event are refused, and which are not."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from celeriac import InvalidEvent, Reject
from celeriac.contract.registered import RegisteredContracts
from celeriac.dead_letter import document_of, edit_dead_letter, patch_change
from celeriac.delivery import DeadLetter
from tests.unit.tracking.backend import backend as backend
from tests.unit.tracking.conftest import shop as shop
from tests.unit.tracking.shop import Shop


def dead_letter(shop: Shop, data: bytes) -> DeadLetter:
    """Return the dead letter of an event with this data."""

    def reject(event: Any) -> None:
        raise Reject("no")

    shop.on("billing.charge", "order.placed", function=reject)
    shop.start()
    body = b'{"specversion":"1.0","id":"1","source":"s","type":"order.placed","data":%b}' % data
    shop.backend.event_log.append("order", body)
    shop.run_until_idle()
    [dead] = shop.backend.deliveries.dead("order")
    return dead


@pytest.mark.parametrize(("before", "after"), [("1", "true"), ("true", "1"), ("1", "1.0")])
def test_a_value_is_edited_to_another_that_python_compares_as_equal(
    shop: Shop, before: str, after: str
) -> None:
    dead = dead_letter(shop, b'{"n":%b}' % before.encode())
    patch = f'[{{"op": "replace", "path": "/data/n", "value": {after}}}]'
    contracts = RegisteredContracts.read(shop.backend.contracts)
    edit = edit_dead_letter(dead, patch_change(patch), contracts)
    assert isinstance(edit.event.data, msgspec.Raw)
    assert bytes(edit.event.data) == b'{"n":%b}' % after.encode()


def test_data_that_is_nested_too_deeply_is_not_edited(shop: Shop) -> None:
    dead = dead_letter(shop, b"[" * 700 + b"]" * 700)
    patch = '[{"op": "add", "path": "/subject", "value": "1"}]'
    contracts = RegisteredContracts.read(shop.backend.contracts)
    with pytest.raises(InvalidEvent, match="nested too deeply"):
        edit_dead_letter(dead, patch_change(patch), contracts)


def test_an_event_with_a_number_out_of_range_cannot_be_edited(shop: Shop) -> None:
    with pytest.raises(InvalidEvent, match="data that cannot be read"):
        document_of(dead_letter(shop, b"1e400"))
