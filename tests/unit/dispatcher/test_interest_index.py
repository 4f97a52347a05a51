"""Which groups of a domain want an event."""

from __future__ import annotations

import pytest

from celeriac import Event
from celeriac.dispatcher import interest_index
from celeriac.dispatcher.interest_index import InterestIndex
from celeriac.event import build_event, encode, read_header
from celeriac.handler import Handler, HandlerOptions, make_handler


def handle(event: Event) -> None: ...


def handler(name: str, *patterns: str) -> Handler:
    return make_handler(handle, patterns, HandlerOptions(name=name), service="billing")


@pytest.fixture
def index() -> InterestIndex:
    return InterestIndex(
        (made.group("order"), made)
        for made in (
            handler("placed", "order.placed"),
            handler("both", "order.placed", "order.paid", "order.placed"),
            handler("star", "order.*"),
            handler("hash", "order.#"),
            handler("mixed", "order.paid", "order.item.*"),
        )
    )


def wanting(index: InterestIndex, type: str, *handlers: str) -> list[str]:
    event = read_header(encode(build_event(type, None, source="s", handlers=handlers)))
    return [group.handler.removeprefix("billing.") for group in index.wanting(event)]


@pytest.mark.parametrize(
    ("type", "handlers"),
    [
        ("order.placed", ["placed", "both", "star", "hash"]),
        ("order.paid", ["both", "star", "hash", "mixed"]),
        ("order.item.added", ["hash", "mixed"]),
        ("order.other", ["star", "hash"]),
        ("payment.made", []),
    ],
)
def test_an_event_is_for_the_groups_whose_patterns_match(
    index: InterestIndex, type: str, handlers: list[str]
) -> None:
    for _ in range(2):  # the second one is cached
        assert handlers == wanting(index, type)


def test_an_event_that_names_handlers_is_for_those_of_them_that_subscribe(
    index: InterestIndex,
) -> None:
    named = "billing.placed", "billing.mixed", "other.placed"
    assert ["placed"] == wanting(index, "order.placed", *named)
    assert ["mixed"] == wanting(index, "order.paid", *named)


def test_the_index_remembers_a_limited_number_of_types(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    made = handler("star", "order.*")
    matches = type(made.matcher).matches

    def noted(matcher: object, type: str) -> bool:
        asked.append(type)
        return matches(made.matcher, type)

    monkeypatch.setattr(type(made.matcher), "matches", noted)
    monkeypatch.setattr(interest_index, "MAX_TYPES", 3)
    index = InterestIndex([(made.group("order"), made)])
    for name in ("order.a", "order.b", "order.c", "order.a", "order.c"):
        assert ["star"] == wanting(index, name)
    assert ["order.a", "order.b", "order.c"] == asked
    # One more begins again.
    for name in ("order.d", "order.a"):
        assert ["star"] == wanting(index, name)
    assert ["order.d", "order.a"] == asked[3:]
