"""A handler's signature: read at import, or refused with the remedy."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from celeriac import Event
from celeriac.errors import SubscriptionError
from celeriac.handler.signature import read_signature
from celeriac.service import Service

models: Any = SimpleNamespace()


@dataclass
class Order:
    number: int


def plain(event: Event) -> None: ...
def typed(event: Event[Order]) -> None: ...
def bare(event): ...  # type: ignore[no-untyped-def]
def with_default(event: Event[Order], retries: int = 3) -> None: ...
async def coroutine(event: Event[Order]) -> None: ...
def many(events: list[Event[Order]]) -> None: ...
def sequence(events: Sequence[Event[Order]]) -> None: ...
def nothing() -> None: ...
def two(event: Event, other: int) -> None: ...
def keyword(event: Event, *, other: int) -> None: ...
def only_keyword(*, event: Event) -> None: ...
def data_only(order: Order) -> None: ...
def generator(event: Event) -> Iterator[int]:
    yield 1


async def async_generator(event: Event) -> AsyncIterator[int]:
    yield 1


def unknown(event: Event[Missing]) -> None: ...  # type: ignore[name-defined]  # noqa: F821
def absent(event: Event[models.Absent]) -> None: ...  # pyright: ignore[reportInvalidTypeForm]
def unreadable(event: Event[Service]) -> None: ...


class Callee:
    async def __call__(self, event: Event[Order]) -> None: ...


class Holder:
    def method(self, event: Event[Order]) -> None: ...


@pytest.mark.parametrize(
    ("function", "data_type"),
    [
        (plain, Any),
        (bare, Any),
        (typed, Order),
        (with_default, Order),
        (coroutine, Order),
        (Callee(), Order),
        (Holder().method, Order),
        (functools.partial(with_default, retries=5), Order),
    ],
)
def test_one_event_is_taken_with_its_data(function: Callable[..., Any], data_type: Any) -> None:
    assert data_type == read_signature(function, batch=False).data_type


@pytest.mark.parametrize("function", [many, sequence])
def test_a_batch_is_taken(function: Callable[..., Any]) -> None:
    assert read_signature(function, batch=True).data_type is Order


def test_coroutines_are_known() -> None:
    asynchronous = [
        f for f in (plain, coroutine, Callee()) if read_signature(f, batch=False).is_async
    ]
    assert [coroutine] == asynchronous[:1] and len(asynchronous) == 2


@pytest.mark.parametrize(
    ("function", "says", "remedy"),
    [
        (nothing, "cannot take an event", "write `def nothing(event: Event[...])`"),
        (two, "called with one argument", "write `def two("),
        (Holder.method, "called with one argument, without `self`", "write `def method(event: "),
        (keyword, "called with one argument", "write `def keyword("),
        (only_keyword, "called with one argument", "write `def only_keyword("),
        (data_only, "cannot take an event", "write `event: Event[...]`"),
        (many, "takes a list", "add batch=100"),
        (unknown, "cannot be resolved", "import the type at module level"),
        (absent, "cannot be resolved", "import the type at module level"),
        (min, "", "wrap it"),
        (3, "is not a function", "decorate `def "),
    ],
)
def test_a_bad_shape_is_refused_with_the_remedy(function: Any, says: str, remedy: str) -> None:
    with pytest.raises(SubscriptionError) as caught:
        read_signature(function, batch=False)
    assert says in str(caught.value) and remedy in str(caught.value)


def test_a_batch_handler_of_one_event_is_refused() -> None:
    with pytest.raises(SubscriptionError, match="takes one event; write `events: list"):
        read_signature(typed, batch=True)


def test_data_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(SubscriptionError, match="data cannot be read as"):
        read_signature(unreadable, batch=False)
