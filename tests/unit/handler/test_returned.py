"""What counts as events in what a handler returned."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from celeriac import Emit
from celeriac.handler.returned import returned_emits, yielded

ONE, TWO = Emit("order.paid", {"n": 1}), Emit("order.sent", {"n": 2}, delay=5)


def generator(*values: Any) -> Iterator[Any]:
    yield from values


async def async_generator(*values: Any) -> AsyncIterator[Any]:
    for value in values:
        yield value


@pytest.mark.parametrize(
    ("answer", "emits"),
    [
        (ONE, [ONE]),
        ([ONE, TWO], [ONE, TWO]),
        ((TWO,), [TWO]),
        (generator(ONE, TWO), [ONE, TWO]),
        (generator(), []),
    ],
)
def test_an_event_a_list_and_a_generator_are_events(answer: Any, emits: list[Emit]) -> None:
    assert list(returned_emits(answer, "b.h")) == emits


@pytest.mark.parametrize("answer", [None, 1, "text", [], [1, "a"], {"a": ONE}, iter([ONE])])
def test_anything_else_is_no_event(answer: Any) -> None:
    assert list(returned_emits(answer, "b.h")) == []


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ([ONE, 3], "b.h returned a list with int: must be Emit or Reply"),
        ((None, ONE), "b.h returned a list with NoneType: must be Emit or Reply"),
        (generator(ONE, "x"), "b.h yielded str: must be Emit or Reply"),
    ],
)
def test_a_mixture_is_an_error_that_names_the_handler(answer: Any, says: str) -> None:
    with pytest.raises(TypeError, match=says):
        returned_emits(answer, "b.h")


def test_an_async_generator_is_read_to_its_end() -> None:
    assert list(asyncio.run(yielded(async_generator(ONE, TWO), "b.h"))) == [ONE, TWO]
    with pytest.raises(TypeError, match=r"b\.h yielded int"):
        asyncio.run(yielded(async_generator(1), "b.h"))


def refilled() -> Iterator[Emit]:
    rows: list[Any] = []
    for number in range(3):
        rows.append(number)
        yield Emit("rows.read", rows)
        rows.clear()


async def refilled_async() -> AsyncIterator[Emit]:
    for emit in refilled():
        yield emit


def test_a_generator_may_change_the_data_of_an_event_that_it_has_yielded() -> None:
    whole = [Emit("rows.read", [number]) for number in range(3)]
    assert list(returned_emits(refilled(), "b.h")) == whole
    assert list(asyncio.run(yielded(refilled_async(), "b.h"))) == whole


def test_data_that_cannot_be_copied_is_passed_on_to_the_encoder() -> None:
    unreadable = {"lock": threading.Lock()}
    [emit] = returned_emits(generator(Emit("a.b", unreadable)), "b.h")
    assert emit.data is unreadable


def test_only_given_attributes_are_passed_to_emit() -> None:
    assert ONE.attributes() == {} and not ONE.is_delayed
    emit = Emit("a.b", subject="s", handlers=["b.h"], extensions={"region": "t"}, delay=1)
    assert emit.attributes() == {
        "subject": "s",
        "handlers": ["b.h"],
        "extensions": {"region": "t"},
    }
    assert emit.is_delayed
