"""The contracts of the shop: locked in git, and compatible with events emitted before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from celeriac.contract import VERSIONS, read_data
from celeriac.contract.lock import lock_files, read_locks
from celeriac.event import build_event, decode, encode
from config.events import EVENTS, ProductRepriced
from config.services import SERVICES

LOCKS = read_locks(lock_files(Path(__file__).parents[3] / "contracts"))


def test_each_service_has_a_lock_and_each_event_an_owner() -> None:
    assert set(SERVICES) == set(LOCKS)
    owned = {type_ for lock in LOCKS.values() for type_ in lock.contracts}
    assert set(EVENTS) == owned
    assert set(EVENTS) <= set(VERSIONS)


def test_a_price_from_before_there_were_currencies_is_read_in_euros() -> None:
    data = {"sku": "SKU-000001", "cents": 999}
    event: Any = decode(encode(build_event("product.repriced", data, source="orders")))
    read = read_data(event, ProductRepriced)
    assert ProductRepriced(sku="SKU-000001", cents=999, currency="EUR") == read.data
    versions = [one.version for one in LOCKS["orders"].contracts["product.repriced"]]
    assert [1, 2] == versions
