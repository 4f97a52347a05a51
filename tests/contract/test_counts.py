"""What is counted in passing: how large chunks are, and whose lease was over."""

from __future__ import annotations

import pytest

from celeriac.delivery import Lane
from tests.contract.store import Store


@pytest.mark.parametrize(("size", "bucket"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (64, 6)])
def test_chunks_are_counted_by_their_size(store: Store, lane: Lane, size: int, bucket: int) -> None:
    for n in range(size):
        store.emit(str(n))
    assert size == len(store.run(lane))
    stats = store.ledger.stats(lane)
    assert {f"chunk {bucket}": 1, "claimed": size} == {
        name: n for name, n in stats.items() if name.startswith(("chunk", "claimed"))
    }


def test_the_counts_of_many_handlers_come_at_once(store: Store, lane: Lane) -> None:
    store.emit("a")
    store.run(lane)
    other = Lane(lane.domain, "billing.other")
    assert [store.ledger.stats(lane), {}] == store.ledger.stats_many([lane, other])
    assert [] == store.ledger.stats_many([])


def test_a_hint_that_claims_nothing_is_no_chunk(store: Store, lane: Lane) -> None:
    store.emit("a")
    deliveries = store.take(lane).deliveries
    store.claim(lane, deliveries)
    assert [] == store.claim(lane, deliveries)
    assert 1 == store.ledger.stats(lane)["chunk 0"]


def test_a_lease_that_is_over_is_counted_by_what_its_holder_did(store: Store, lane: Lane) -> None:
    for name in "abc":
        store.emit(name)
    deliveries = store.take(lane, "w1").deliveries
    store.claim(lane, deliveries[:1], "w1")
    assert 3 == len(store.sweep(lane, "w2").deliveries)
    stats = store.ledger.stats(lane)
    assert (1, 2) == (stats["lost running"], stats["lost queued"])


def test_a_sweep_that_finds_all_leases_alive_counts_nothing(store: Store, lane: Lane) -> None:
    store.emit("a")
    store.run(lane)
    assert 0 == len(store.take(lane, "w2").deliveries)
    assert not any(name.startswith("lost") for name in store.ledger.stats(lane))
