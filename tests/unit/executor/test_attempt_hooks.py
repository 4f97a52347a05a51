"""The hooks of middleware around an attempt: their order, and what a failure of each means."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from celeriac import Attempt, Event, EventBus, Middleware
from celeriac.executor.attempt_hooks import run_attempt


class Layer(Middleware):
    """Notes its hooks, and fails in those that `failing` names."""

    def __init__(self, name: str, log: list[str], failing: str) -> None:
        self._name, self._log, self._failing = name, log, failing

    def _note(self, hook: str) -> None:
        self._log.append(f"{self._name} {hook}")
        if self._failing == f"{self._name} {hook}":
            raise ValueError(self._failing)

    @contextmanager
    def around_attempt(self, attempt: Attempt) -> Iterator[None]:
        self._note("enters")
        try:
            yield
        finally:
            self._note("leaves")

    async def before_attempt(self, attempt: Attempt) -> None:
        self._note("before")

    async def after_attempt(self, attempt: Attempt) -> None:
        self._note("after")

    async def attempt_failed(self, attempt: Attempt) -> None:
        self._note("failed")


BEFORE = ["a enters", "a before", "b enters", "b before"]
FAILED, LEFT = ["b failed", "a failed"], ["b leaves", "a leaves"]


@pytest.mark.parametrize(
    ("failing", "log"),
    [
        ("", [*BEFORE, "call", "b after", "a after", *LEFT]),
        ("call", [*BEFORE, "call", *FAILED, *LEFT]),
        ("a enters", ["a enters"]),
        ("a before", ["a enters", "a before", "a failed", "a leaves"]),
        ("b enters", ["a enters", "a before", "b enters", "a failed", "a leaves"]),
        ("b after", [*BEFORE, "call", "b after", *FAILED, *LEFT]),
        ("a leaves", [*BEFORE, "call", "b after", "a after", *LEFT]),
    ],
)
def test_the_order_of_hooks(bus: EventBus, failing: str, log: list[str]) -> None:
    ran: list[str] = []
    failures: list[str] = []
    layers = [Layer("a", ran, failing), Layer("b", ran, failing)]
    event: Event[None] = bus.event("order.placed")

    def call() -> None:
        ran.append("call")
        if failing == "call":
            raise ValueError("call")

    def fail(error: BaseException) -> BaseException:
        failures.append(str(error))
        return error

    failure = run_attempt(layers, Attempt("billing.h", "w", 1, (event,), False), call, fail)
    assert ran == log
    assert failures == ([failing] if failing else [])
    assert str(failure or "") == failing


def test_the_first_failure_counts(bus: EventBus) -> None:
    """A context manager that fails on exit hides no failure of the handler."""
    layer = Layer("a", [], "a leaves")
    attempt = Attempt("billing.h", "w", 1, (bus.event("order.placed"),), False)

    def call() -> None:
        raise KeyError("first")

    failure = run_attempt([layer], attempt, call, lambda error: error)
    assert isinstance(failure, KeyError)


def test_a_hook_of_failures_that_fails_is_logged(
    bus: EventBus, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[str] = []
    layers = [Layer("a", ran, ""), Layer("b", ran, "b failed")]
    attempt = Attempt("billing.h", "w", 3, (bus.event("order.placed", id="e"),), False)

    def call() -> None:
        raise KeyError("first")

    assert isinstance(run_attempt(layers, attempt, call, lambda error: error), KeyError)
    assert ran[-4:] == ["b failed", "a failed", "b leaves", "a leaves"]
    expected = "Layer.attempt_failed of the middleware failed after attempt 3 of billing.h at "
    assert f"{expected}order.placed e" in caplog.text
