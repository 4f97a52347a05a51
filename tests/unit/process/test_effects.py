"""What a method may ask for, and what it is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import create_engine

from celeriac import Event, EventBus, InvalidData, InvalidEvent
from celeriac.event import build_event, decode, encode
from celeriac.process import Process, reminded, starts
from celeriac.process.advance import advance
from celeriac.process.instance import StepChanges
from tests.unit.process.shop import State

INBOX = create_engine("sqlite://")


def step(bus: EventBus, body: Callable[[Any], object]) -> StepChanges:
    """Return the changes of a method with this body."""

    class Tried(Process[State], inbox=INBOX):
        @starts("order.placed")
        def begun(self, event: Event) -> None:
            body(self)

        @reminded("late")
        def late(self) -> None: ...

    assert Tried.definition is not None
    made = build_event("order.placed", None, source="shop", id="e", subject="42")
    event = decode(encode(made))
    return advance(Tried.definition, "billing.tried", "42", None, event, bus.emitter, 1_000)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (lambda p: p.remind("never", after=1), "no method has @reminded('never'). The timers are"),
        (lambda p: p.forget("never"), "no method has @reminded('never')"),
        (lambda p: p.remind("late"), "give after= or at="),
        (lambda p: p.remind("late", after=1, at=datetime.now(UTC)), "give after= or at="),
        (lambda p: (p.complete(), p.complete()), "complete(): the instance is completed already"),
        (lambda p: (p.complete(), p.abort("x")), "abort(): the instance is completed already"),
        (lambda p: (p.abort("x"), p.remind("late", after=1)), "the instance is aborted"),
        (lambda p: (p.complete(), p.emit("a.b", undo="a.c")), "nothing can undo it"),
    ],
)
def test_a_wrong_call_raises(bus: EventBus, body: Callable[[Any], object], message: str) -> None:
    with pytest.raises(ValueError) as raised:
        step(bus, body)
    assert message in str(raised.value)


@pytest.mark.parametrize(
    "body",
    [
        lambda p: p.emit("a b"),
        lambda p: p.emit("a.b", delay=-1),
        lambda p: p.emit("a.b", at=datetime(2026, 1, 1)),
        lambda p: p.remind("late", at=datetime(2026, 1, 1)),
        lambda p: p.emit("a.b", undo="a c"),
    ],
)
def test_an_invalid_event_raises_in_the_method(
    bus: EventBus, body: Callable[[Any], object]
) -> None:
    with pytest.raises(InvalidEvent):
        step(bus, body)


def test_a_state_without_a_json_form_raises(bus: EventBus) -> None:
    with pytest.raises(InvalidData):
        step(bus, lambda p: setattr(p, "state", object()))


def test_an_emit_has_a_derived_id_and_the_key_as_its_subject(bus: EventBus) -> None:
    def body(process: Any) -> None:
        process.emit("a.b", {"n": 1})
        process.emit("a.b", {"n": 1}, subject="other", id="mine")

    first, again = step(bus, body), step(bus, body)
    ids = [emit.event.id for emit in first.emits]
    assert ids == [emit.event.id for emit in again.emits]
    assert ids[1] == "mine"
    assert [emit.event.subject for emit in first.emits] == ["42", "other"]


def test_a_timer_that_is_set_and_forgotten_in_one_step_leaves_nothing(bus: EventBus) -> None:
    def body(process: Any) -> None:
        process.remind("late", after=5)
        process.forget("late")

    changes = step(bus, body)
    assert (changes.instance.timers, changes.set_timers) == ({}, ())


def test_the_last_of_two_timers_of_a_name_is_set(bus: EventBus) -> None:
    def body(process: Any) -> None:
        process.remind("late", after=5)
        process.remind("late", at=datetime.fromtimestamp(9, UTC))

    changes = step(bus, body)
    [row] = changes.set_timers
    assert (row.at_ms, changes.instance.timers["late"].event_id) == (9_000, row.event_id)


def test_abort_emits_undo_events_newest_first_after_the_emits_of_the_step(bus: EventBus) -> None:
    def body(process: Any) -> None:
        process.emit("a.one", undo=("undo.one", {"n": 1}))
        process.emit("a.two", undo="undo.two")
        process.abort("no")

    changes = step(bus, body)
    types = [emit.event.type for emit in changes.emits]
    assert types == ["a.one", "a.two", "undo.two", "undo.one"]
    assert (changes.instance.undo, changes.instance.reason) == ([], "no")
    assert changes.step.emitted[-1][0] == "undo.one"
