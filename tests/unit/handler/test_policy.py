"""The outcome of a failed attempt."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.delivery import Outcome
from celeriac.errors import (
    CircuitOpen,
    InvalidData,
    InvalidEvent,
    PushFailed,
    Reject,
    Retry,
    SubscriptionError,
)
from celeriac.handler import Decision, FailurePolicy, RetryPolicy, decide

DEAD = Decision(Outcome.DEAD)


def never() -> float:
    return 0.0


def test_the_backoff_doubles_up_to_its_bound() -> None:
    policy = RetryPolicy(backoff=2.0, max_backoff=10.0)
    assert [2.0, 4.0, 8.0, 10.0, 10.0] == [policy.delay(n, 0.0) for n in range(1, 6)]


def test_a_late_attempt_does_not_overflow() -> None:
    assert RetryPolicy(max_backoff=600.0).delay(10_000, 0.0) == 600.0


@given(
    attempt=st.integers(1, 100),
    chance=st.floats(0, 1, exclude_max=True),
    jitter=st.floats(0, 5),
    backoff=st.floats(0, 1e4),
)
def test_jitter_never_shortens_a_wait(
    attempt: int, chance: float, jitter: float, backoff: float
) -> None:
    policy = RetryPolicy(backoff=backoff, jitter=jitter)
    plain = policy.delay(attempt, 0.0)
    assert plain <= policy.delay(attempt, chance) <= plain * (1 + jitter)


@pytest.mark.parametrize("name", ["retries", "backoff", "max_backoff", "jitter"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1", True])
def test_a_policy_refuses_what_is_no_time(name: str, value: float) -> None:
    options: dict[str, Any] = {name: value}
    with pytest.raises(SubscriptionError, match=f"{name}=.*finite number of at least 0"):
        RetryPolicy(**options)


@pytest.mark.parametrize("name", ["backoff", "max_backoff"])
def test_a_wait_is_at_most_ten_years(name: str) -> None:
    options: dict[str, Any] = {name: 315_360_000}
    RetryPolicy(**options)
    for value in (315_360_001, 1e308, 10**400):
        options[name] = value
        with pytest.raises(SubscriptionError, match=f"{name}=.*at most 315360000 seconds"):
            RetryPolicy(**options)


def test_jitter_makes_no_wait_over_ten_years() -> None:
    policy = FailurePolicy(RetryPolicy(backoff=1e6, max_backoff=1e6, jitter=1e308))
    decision = decide(policy, ValueError(), 1, lambda: 0.99)
    assert decision == Decision(Outcome.RETRY, 315_360_000_000)


def test_a_failure_is_retried_after_its_backoff_in_ms() -> None:
    policy = FailurePolicy(RetryPolicy(retries=3, backoff=1.5))
    assert Decision(Outcome.RETRY, 3000) == decide(policy, ValueError(), 2, never)


def test_the_attempt_after_the_last_retry_is_dead() -> None:
    policy = FailurePolicy(RetryPolicy(retries=2))
    outcomes = [decide(policy, ValueError(), attempt).outcome for attempt in (1, 2, 3)]
    assert [Outcome.RETRY, Outcome.RETRY, Outcome.DEAD] == outcomes


class Root(Exception):
    pass


class Branch(Root):
    pass


class Leaf(Branch):
    pass


def test_the_nearest_class_in_the_resolution_order_wins() -> None:
    far, near = RetryPolicy(backoff=1.0), RetryPolicy(backoff=7.0)
    policy = FailurePolicy(RetryPolicy(), {Root: far, Branch: near})
    assert near == policy.of(Leaf())
    assert far == policy.of(Root())
    assert policy.default == policy.of(ValueError())


def test_none_means_dead_at_once() -> None:
    policy = FailurePolicy(RetryPolicy(), {Branch: None, Root: RetryPolicy()})
    assert DEAD == decide(policy, Leaf(), 1)
    assert decide(policy, Root(), 1).outcome is Outcome.RETRY


def test_retry_sets_the_delay_and_the_attempt_counts() -> None:
    policy = FailurePolicy(RetryPolicy(retries=1))
    assert Decision(Outcome.RETRY, 30_000) == decide(policy, Retry(after=30), 1)
    assert Decision(Outcome.RETRY, 0) == decide(policy, Retry(after=-5), 1)
    assert DEAD == decide(policy, Retry(after=30), 2)


def test_retry_without_a_time_takes_the_backoff() -> None:
    policy = FailurePolicy(RetryPolicy(backoff=4.0))
    assert Decision(Outcome.RETRY, 4000) == decide(policy, Retry(), 1, never)


def test_retry_after_for_ever_still_has_a_time() -> None:
    delay = decide(FailurePolicy(), Retry(after=math.inf), 1).delay_ms
    assert 0 < delay < 2**53


def test_a_failed_push_waits_for_the_named_time_and_at_least_for_its_backoff() -> None:
    policy = FailurePolicy(RetryPolicy(retries=1, backoff=5.0))
    assert Decision(Outcome.RETRY, 30_000) == decide(policy, PushFailed("busy", after=30), 1, never)
    assert Decision(Outcome.RETRY, 5000) == decide(policy, PushFailed("busy", after=0), 1, never)
    assert Decision(Outcome.RETRY, 5000) == decide(policy, PushFailed("busy"), 1, never)
    assert DEAD == decide(policy, PushFailed("busy", after=30), 2)


@pytest.mark.parametrize(("after", "delay_ms"), [(30, 30_000), (-1, 1000), (math.inf, 600_000)])
def test_an_open_circuit_requeues_under_any_policy(after: float, delay_ms: int) -> None:
    policy = FailurePolicy(RetryPolicy(retries=0), {Exception: None})
    requeued = Decision(Outcome.REQUEUED, delay_ms)
    assert requeued == decide(policy, CircuitOpen("down", after=after), 99)


@pytest.mark.parametrize("error", [Reject("no"), InvalidData("no"), InvalidEvent("no")])
def test_what_fails_the_same_way_every_time_is_dead_at_once(error: Exception) -> None:
    policy = FailurePolicy(RetryPolicy(retries=9), {Exception: RetryPolicy(retries=9)})
    assert DEAD == decide(policy, error, 1)


def test_crashes_are_given_up_after_the_most_patient_policy() -> None:
    policy = FailurePolicy(RetryPolicy(retries=1), {Root: RetryPolicy(retries=4), Leaf: None})
    assert policy.max_attempts == 5
