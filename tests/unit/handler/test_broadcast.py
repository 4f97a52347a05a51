"""What a broadcast handler may be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from celeriac import Event, EventBus, SubscriptionError


def forget(event: Event[dict[str, Any]]) -> None: ...


def test_it_has_no_consumer_group_and_no_task(bus: EventBus) -> None:
    assert bus.on("cache.invalidated", broadcast=True)(forget) is forget
    bus.on("cache.*", broadcast="process", name="other", when=lambda event: True)(forget)
    first, second = bus.service.broadcasts.values()
    assert (first.id, first.patterns, first.scope) == (
        "billing.forget",
        ("cache.invalidated",),
        "worker",
    )
    assert (second.id, second.scope) == ("billing.other", "process")
    assert not bus.service.handlers


@pytest.mark.parametrize("is_first", [True, False])
def test_its_name_is_one_of_the_names_of_handlers(bus: EventBus, is_first: bool) -> None:
    bus.on("cache.invalidated", broadcast=is_first)(forget)
    with pytest.raises(SubscriptionError, match="the name is taken"):
        bus.on("cache.invalidated", broadcast=not is_first)(forget)


def generates(event: Event) -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "options", "says"),
    [
        (forget, {"broadcast": "everywhere"}, "broadcast='everywhere': must be True or 'worker'"),
        (forget, {"retries": 3}, "broadcast= excludes retries=: "),
        (forget, {"batch": 5, "inbox": object()}, "broadcast= excludes batch=, inbox="),
        (forget, {"name": "a-b"}, "handler name 'a-b' is invalid"),
        (generates, {}, "generates is a generator"),
        (lambda: None, {"name": "nothing"}, "cannot take an event"),
    ],
)
def test_a_wrong_one_is_refused_with_the_remedy(
    bus: EventBus, function: Any, options: dict[str, Any], says: str
) -> None:
    with pytest.raises(SubscriptionError) as caught:
        bus.on("cache.invalidated", **{"broadcast": True, **options})(function)
    assert says in str(caught.value)
    with pytest.raises(SubscriptionError):
        bus.on(broadcast=True)(forget)
