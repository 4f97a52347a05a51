"""The model of a cluster: sizes follow from costs, and its queues from how busy nodes are."""

from __future__ import annotations

import pytest

from benchmarks.simulate import Costs, fitted, imbalance_of, run, shares, size

COSTS = Costs(append=10, deliver=20, emit=10, work=50, task=100, chunk=100)


def test_nodes_follow_from_what_events_cost_them() -> None:
    need = size(100_000, 3, COSTS)
    assert need.nodes == 12  # 100,000 × (10 + 3 × 20) µs is 7 cores, each 60 % busy
    assert need.workers == pytest.approx(25)
    assert size(200_000, 3, COSTS).workers == pytest.approx(50)


def test_shares_are_of_all_events() -> None:
    found = shares(100, 0.8, 5)
    assert sum(found) == pytest.approx(1)
    assert imbalance_of(shares(1, 0, 3)) == 3  # one domain is on one node


def test_splitting_domains_evens_the_nodes_out() -> None:
    assert imbalance_of(shares(20, 1, 6, 16)) < imbalance_of(shares(20, 1, 6))


def test_a_domain_of_more_than_a_core_needs_splitting() -> None:
    assert fitted(200_000, 1, COSTS, 10, 1, 1) is None
    assert fitted(200_000, 1, COSTS, 10, 1, 32) is not None


def test_who_is_busier_waits_longer() -> None:
    quiet = run(5_000, 1, COSTS, [1.0], seconds=5)
    busy = run(28_000, 1, COSTS, [1.0], seconds=5)
    assert quiet.busiest == pytest.approx(0.15, abs=0.03)
    assert busy.p99 > 3 * quiet.p99


def test_three_even_nodes_do_three_times_as_much() -> None:
    """A node does 1/30 µs = 33,333 events/s; offered more, it ends when all is done."""
    one = run(200_000, 1, COSTS, [1.0], seconds=0.5)
    three = run(200_000, 1, COSTS, [1 / 3] * 3, seconds=0.5)
    assert one.done == pytest.approx(33_333, rel=0.02)
    assert three.done / one.done == pytest.approx(3, rel=0.1)
