"""What is also counted: the sizes of chunks, and expired leases."""

from __future__ import annotations

import pytest

from celeriac.delivery import Group, Outcome
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


def test_a_task_that_claims_nothing_is_no_chunk(store: Store, group: Group) -> None:
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


def test_reclaiming_counts_nothing_while_all_leases_are_alive(store: Store, group: Group) -> None:
    store.emit("a")
    store.run(group)
    assert 0 == len(store.fetch(group, "w2").deliveries)
    assert not any(name.startswith("lost") for name in store.deliveries.stats(group))


def test_scheduled_deliveries_are_counted_up_to_a_time(store: Store, group: Group) -> None:
    for name in "abc":
        store.emit(name)
    now = store.registry.now_ms()
    for claimed, seconds in zip(store.run(group), (10, 200, 1000), strict=True):
        store.complete(group, claimed, Outcome.RETRY, delay_ms=1000 * seconds)
    other = Group(group.domain, "billing.other")
    counts = [
        store.deliveries.due_until([group, other], now + 1000 * seconds)
        for seconds in (0, 100, 500, 3600)
    ]
    assert counts == [[0, 0], [1, 0], [2, 0], [3, 0]]
    assert [] == store.deliveries.due_until([], now)
