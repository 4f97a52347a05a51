from __future__ import annotations

import time

import pytest

from devtools.demo.order_generator import OrderGenerator
from devtools.demo.processes import DemoFailed


def test_it_places_its_orders_and_is_done() -> None:
    placed: list[int] = []
    orders = OrderGenerator(placed.append, events=5, rate=None)
    orders.start()
    orders.join(5)
    assert placed == [1, 2, 3, 4, 5]
    assert orders.placed == 5 and orders.done


def test_it_keeps_to_its_rate() -> None:
    orders = OrderGenerator(lambda number: None, events=5, rate=50)
    started = time.monotonic()
    orders.start()
    orders.join(5)
    assert time.monotonic() - started >= 4 / 50


def test_closing_it_ends_an_endless_stream() -> None:
    orders = OrderGenerator(lambda number: None, events=None, rate=1)
    orders.start()
    orders.close()
    assert not orders.is_alive()
    assert not orders.done


def test_an_order_that_fails_is_reported() -> None:
    def place(number: int) -> None:
        if number == 3:
            raise ConnectionError("no bus")

    orders = OrderGenerator(place, events=5, rate=None)
    orders.start()
    orders.join(5)
    with pytest.raises(DemoFailed, match="order 3 was not placed: no bus"):
        _ = orders.done
