"""How long a dispatcher waits before it asks for a handler again."""

from __future__ import annotations

import pytest

from celeriac.dispatcher.pause import BUSY, IDLE, until, until_room, until_share


def test_it_waits_till_a_quarter_of_what_it_holds_is_done() -> None:
    assert 0.1 == until_room(800_000, processes=2)
    assert BUSY == until_room(0, processes=2)
    assert IDLE == until_room(10**9, processes=2)


@pytest.mark.parametrize(("mean_us", "pause"), [(1, BUSY), (2_000_000, 0.04), (10**8, 0.1)])
def test_it_looks_soon_after_a_slow_handler_may_have_ended(mean_us: int, pause: float) -> None:
    assert pause == until_share(mean_us)


@pytest.mark.parametrize(
    ("due_ms", "pause"), [(900, BUSY), (1000, BUSY), (1200, 0.2), (9000, IDLE)]
)
def test_it_waits_till_something_is_due_and_no_longer_than_idle(due_ms: int, pause: float) -> None:
    assert pause == until(due_ms, now_ms=1000)
