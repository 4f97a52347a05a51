"""What is counted in passing: how large chunks are, and whose lease was over."""

from __future__ import annotations

import pytest

from celeriac.delivery import Group
from tests.contract.store import Store


@pytest.mark.parametrize(("size", "bucket"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (64, 6)])
def test_chunks_are_counted_by_their_size(
    store: Store, group: Group, size: int, bucket: int
) -> None:
    for n in range(size):
        store.emit(str(n))
    assert size == len(store.run(group))
    stats = store.deliveries.stats(group)
    assert {f"chunk {bucket}": 1, "claimed": size} == {
        name: n for name, n in stats.items() if name.startswith(("chunk", "claimed"))
    }


def test_the_counts_of_many_handlers_come_at_once(store: Store, group: Group) -> None:
    store.emit("a")
    store.run(group)
    other = Group(group.domain, "billing.other")
    assert [store.deliveries.stats(group), {}] == store.deliveries.stats_many([group, other])
    assert [] == store.deliveries.stats_many([])


def test_a_hint_that_claims_nothing_is_no_chunk(store: Store, group: Group) -> None:
    store.emit("a")
    deliveries = store.fetch(group).deliveries
    store.claim(group, deliveries)
    assert [] == store.claim(group, deliveries)
    assert 1 == store.deliveries.stats(group)["chunk 0"]


def test_a_lease_that_is_over_is_counted_by_what_its_holder_did(store: Store, group: Group) -> None:
    for name in "abc":
        store.emit(name)
    deliveries = store.fetch(group, "w1").deliveries
    store.claim(group, deliveries[:1], "w1")
    assert 3 == len(store.reclaim(group, "w2").deliveries)
    stats = store.deliveries.stats(group)
    assert (1, 2) == (stats["lost running"], stats["lost queued"])


def test_a_sweep_that_finds_all_leases_alive_counts_nothing(store: Store, group: Group) -> None:
    store.emit("a")
    store.run(group)
    assert 0 == len(store.fetch(group, "w2").deliveries)
    assert not any(name.startswith("lost") for name in store.deliveries.stats(group))
