from __future__ import annotations

import time

import pytest

from devtools.demo.processes import DemoFailed
from devtools.demo.till import Till


def test_it_places_its_orders_and_is_done() -> None:
    placed: list[int] = []
    till = Till(placed.append, events=5, rate=None)
    till.start()
    till.join(5)
    assert placed == [1, 2, 3, 4, 5]
    assert till.placed == 5 and till.done


def test_it_keeps_to_its_rate() -> None:
    till = Till(lambda number: None, events=5, rate=50)
    started = time.monotonic()
    till.start()
    till.join(5)
    assert time.monotonic() - started >= 4 / 50


def test_closing_it_ends_an_endless_stream() -> None:
    till = Till(lambda number: None, events=None, rate=1)
    till.start()
    till.close()
    assert not till.is_alive()
    assert not till.done


def test_an_order_that_is_not_taken_is_told() -> None:
    def place(number: int) -> None:
        if number == 3:
            raise ConnectionError("no bus")

    till = Till(place, events=5, rate=None)
    till.start()
    till.join(5)
    with pytest.raises(DemoFailed, match="order 3 was not taken: no bus"):
        _ = till.done
