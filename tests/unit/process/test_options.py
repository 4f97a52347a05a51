"""What a definition makes of the options and methods of a class."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import create_engine

from celeriac import Event, SubscriptionError
from celeriac.contract import contract
from celeriac.process import Process, on, reminded, starts
from celeriac.process.definition import ABORT_REQUESTED, REMINDED, ProcessDefinition, waiting_policy
from tests.unit.process.shop import State

INBOX = create_engine("sqlite://")


def define(**options: Any) -> ProcessDefinition:
    class Flow(Process[State], inbox=INBOX, **options):
        @starts("order.placed", "order.*")
        def placed(self, event: Event) -> None: ...

        @on("order.paid", "payment.#", "order.*")
        def paid(self, event: Event) -> None: ...

    assert Flow.definition is not None
    return Flow.definition


@pytest.mark.parametrize(
    ("seconds", "retries"),
    [(0, 0), (0.5, 1), (1, 1), (1.5, 2), (3, 2), (4, 3), (63, 6), (64, 7), (123, 7), (600, 15)],
)
def test_retries_last_for_the_wait(seconds: float, retries: int) -> None:
    policy = waiting_policy(seconds)
    assert (retries, 1.0, 60.0) == (policy.retries, policy.backoff, policy.max_backoff)
    assert policy == define(wait=seconds).waiting_policy()


@pytest.mark.parametrize(
    ("keep", "keep_ms"),
    [(0, 0), (1.5, 1500), (timedelta(days=30), 2_592_000_000), (timedelta(0), 0)],
)
def test_times_are_seconds_or_timedeltas(keep: Any, keep_ms: int) -> None:
    assert (keep_ms, keep_ms / 1000) == (define(keep=keep).keep_ms, define(wait=keep).wait_s)


def test_the_default_times() -> None:
    assert (600, 30 * 86_400_000) == (define().wait_s, define().keep_ms)


@pytest.mark.parametrize("value", [True, float("nan"), -0.1, timedelta(seconds=-1), None, "1"])
@pytest.mark.parametrize("option", ["wait", "keep"])
def test_other_times_are_refused(option: str, value: Any) -> None:
    with pytest.raises(SubscriptionError, match=f"{option}=.*: must be a timedelta"):
        define(**{option: value})


def test_the_first_method_of_the_class_that_matches_reacts() -> None:
    definition = define()
    assert {
        "order.placed": "placed", "order.paid": "placed", "payment.a.b": "paid", "stock.low": None,
    } == {
        type: reaction and reaction.method
        for type in ("order.placed", "order.paid", "payment.a.b", "stock.low")
        for reaction in (definition.reaction_to(type),)
    }  # fmt: skip


def test_only_some_methods_may_start_an_instance() -> None:
    starting, other = define().reactions
    for missing, expected in (
        ("wait", [True, False, False]), ("skip", [True, False, False]),
        ("start", [True, True, False]),
    ):  # fmt: skip
        definition = define(missing=missing)
        assert expected == [definition.may_start(each) for each in (starting, other, None)]


def test_each_pattern_is_subscribed_to_once_and_timers_only_with_a_method() -> None:
    assert ("order.placed", "order.*", "order.paid", "payment.#", ABORT_REQUESTED) == (
        define().patterns
    )

    class Reminded(Process[State], inbox=INBOX):
        @starts("order.placed")
        def placed(self, event: Event) -> None: ...

        @reminded("x", "x" * 100)
        def late(self) -> None: ...

    assert Reminded.definition is not None
    assert ("order.placed", REMINDED, ABORT_REQUESTED) == Reminded.definition.patterns
    assert {"x": Reminded.late, "x" * 100: Reminded.late} == Reminded.definition.reminders


@pytest.mark.parametrize("name", ["", "x" * 101, 7])
def test_a_timer_has_a_short_name(name: Any) -> None:
    with pytest.raises(SubscriptionError, match=r"must be a name of at most 100 characters"):

        class Reminded(Process[State], inbox=INBOX):
            @starts("order.placed")
            def placed(self, event: Event) -> None: ...

            @reminded(name)
            def late(self) -> None: ...


def test_a_method_can_have_several_decorators() -> None:
    class Both(Process[State], inbox=INBOX):
        @starts("order.placed")
        @on("order.paid")
        def placed(self, event: Event) -> None: ...

    assert Both.definition is not None
    assert [("order.paid", False), ("order.placed", True)] == [
        (reaction.patterns[0], reaction.starts) for reaction in Both.definition.reactions
    ]


def test_a_contract_names_the_version_of_the_state() -> None:
    @contract("test_options.flow", version=3)
    class Flow(msgspec.Struct):
        cents: int = 0

    class Contracted(Process[Flow], inbox=INBOX):
        @starts("order.placed")
        def placed(self, event: Event) -> None: ...

    assert Contracted.definition is not None
    assert 3 == Contracted.definition.state.version
    assert 1 == define().state.version


def test_a_state_that_cannot_be_read_from_json_is_refused() -> None:
    class Unreadable:
        pass

    with pytest.raises(SubscriptionError, match=r"process .*Flow: "):

        class Flow(Process[Unreadable], inbox=INBOX):
            @starts("order.placed")
            def placed(self, event: Event) -> None: ...
