"""The sources that a dispatcher notes for those who look for an event by its id."""

from __future__ import annotations

from typing import Any

import pytest

from celeriac.delivery import DeliveryStore
from celeriac.delivery.sources import MAX_NOTED, MAX_REMEMBERED, NOTED_AGAIN, Sources
from celeriac.settings import Settings
from tests.unit.tracking.shop import Shop, memory_backend


class Noted:
    """A delivery store that keeps what it is given."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, dict[str, int]]] = []

    def note_sources(self, domain: str, sources: dict[str, int]) -> None:
        self.calls.append((domain, sources))


@pytest.fixture
def deliveries() -> Any:
    return Noted()


def test_a_source_is_noted_once_an_hour(deliveries: Any) -> None:
    times = [0.0, 1.0, NOTED_AGAIN, NOTED_AGAIN + 1, NOTED_AGAIN + 1]
    sources = Sources(iter(times).__next__)
    for _ in range(4):
        sources.add("order", {"shop": "5-0"})
        sources.flush(deliveries)
    sources.add("payment", {"shop": "7-0"})
    sources.flush(deliveries)
    assert [("order", {"shop": 5})] * 2 + [("payment", {"shop": 7})] == deliveries.calls


def test_many_sources_are_noted_a_few_at_a_time_and_not_remembered_for_ever(
    deliveries: Any,
) -> None:
    sources = Sources(lambda: 0.0)
    some = {f"s{n}": "5-0" for n in range(MAX_NOTED + 1)}
    for _ in range(3):
        sources.add("order", some)
        sources.flush(deliveries)
    assert [MAX_NOTED, 1] == [len(told) for _, told in deliveries.calls]
    for n in range(2 * MAX_REMEMBERED):
        sources.add("order", {f"t{n}": "5-0"})
        sources.flush(deliveries)
    assert len(sources._noted) <= MAX_REMEMBERED + 1


def test_a_source_that_could_not_be_noted_is_noted_with_the_next_event(deliveries: Any) -> None:
    class Away(Noted):
        def note_sources(self, domain: str, sources: dict[str, int]) -> None:
            raise ConnectionError

    away: Any = Away()
    sources = Sources(lambda: 0.0)
    sources.add("order", {"shop": "5-0"})
    with pytest.raises(ConnectionError):
        sources.flush(away)
    sources.add("order", {"shop": "6-0"})
    sources.flush(deliveries)
    assert [("order", {"shop": 6})] == deliveries.calls


def test_the_sources_of_what_handlers_are_given_or_skip_are_known() -> None:
    shop = Shop(memory_backend(Settings.load({})), Settings.load({}))
    shop.on("billing.charge", "order.placed", when=lambda event: event.source != "c")
    shop.start()
    for type, source in (
        ("order.placed", "a"), ("order.placed", "c"), ("order.unwanted", "d"), ("stock.low", "e"),
    ):  # fmt: skip
        shop.emit(type, source=source)
    shop.run_until_idle()
    deliveries: DeliveryStore = shop.backend.deliveries
    assert ({"a", "c"}, []) == ({*deliveries.sources("order")}, deliveries.sources("stock"))
