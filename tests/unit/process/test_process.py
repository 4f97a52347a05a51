"""The base class of processes: the type of the state, and the time of a step."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import pytest
from sqlalchemy import create_engine

from celeriac import Event, EventBus, SubscriptionError
from celeriac.event import decode, encode
from celeriac.process import Process, memory, runner, starts
from celeriac.process.advance import advance
from celeriac.process.process import _state_type
from tests.unit.process.shop import State

T = TypeVar("T")


class Mixin(Generic[T]):
    """A generic class of an application, which has no state of a process."""


class Base(Process[T], Generic[T]):
    """A base class of processes."""


class Plain(Mixin[int], Process[State]): ...


class Inherited(Mixin[int], Base[T], Process[T]): ...


class Given(Inherited[Any], Process[State]): ...


@pytest.mark.parametrize("cls", [Plain, Given])
def test_the_state_is_the_argument_of_process(cls: type[Any]) -> None:
    assert State is _state_type(cls)


@pytest.mark.parametrize("cls", [Base, Inherited])
def test_a_variable_is_no_type_of_a_state(cls: type[Any]) -> None:
    with pytest.raises(SubscriptionError, match="does not name the type of its state"):
        _state_type(cls)


def test_now_is_the_time_of_the_step(bus: EventBus) -> None:
    seen: list[datetime] = []

    class Timed(Process[State], inbox=create_engine("sqlite://")):
        @starts("order.placed")
        def placed(self, event: Event) -> None:
            seen.append(self.now)

    assert Timed.definition is not None
    event = decode(encode(bus.event("order.placed", subject="42")))
    advance(Timed.definition, "billing.timed", "42", None, event, bus.emitter, 1_234_567_890_500)
    assert [datetime(2009, 2, 13, 23, 31, 30, 500_000, UTC)] == seen


def test_a_step_has_the_time_of_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0015)
    assert 1_000_001 == runner._now_ms()


def test_the_processes_of_a_test_replace_the_others_until_it_ends() -> None:
    outer, inner = memory.MemoryProcesses(), memory.MemoryProcesses()
    with outer.installed():
        with inner.installed():
            assert inner is memory.MemoryProcesses.current
        assert outer is memory.MemoryProcesses.current
    assert memory.MemoryProcesses.current is None
