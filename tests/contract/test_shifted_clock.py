"""A process whose estimate of the server's clock is off names tallies of other minutes."""

from __future__ import annotations

import pytest

from celeriac.delivery import Completion, Group, Outcome
from celeriac.delivery.chunk_store import ChunkRequest
from tests.contract.conftest import MakeStore
from tests.contract.store import DOMAIN, RedisStore, key_of, settled
from tests.contract.test_chunks import completion, failed, fetch, held

TYPE = "order.placed"
TALLIES = {f"{TYPE} processed": 2}
shifted = pytest.mark.parametrize("by_ms", [-5_000_000, -119_999, 0, 119_999, 5_000_000])


@pytest.fixture
def store(make_store: MakeStore) -> RedisStore:
    store = make_store()
    if not isinstance(store, RedisStore):
        pytest.skip("it knows the time")
    return store


def shift(store: RedisStore, by_ms: int) -> None:
    store.clock.note(store.registry.now_ms() + by_ms)


def processed(store: RedisStore, group: Group) -> list[int]:
    """How many in the minutes that have any, the current one and the one before."""
    [minutes] = store.deliveries.counters_by_minute([group], 2)
    [in_all] = store.deliveries.counters([group])
    found = [counters[TYPE].processed for counters in minutes.values() if TYPE in counters]
    assert sum(found) == (in_all[TYPE].processed if TYPE in in_all else 0)
    return found


@shifted
def test_a_delivery_is_finished_and_counted(store: RedisStore, group: Group, by_ms: int) -> None:
    store.emit("a", type=TYPE)
    [claimed] = store.run(group)
    shift(store, by_ms)
    assert store.complete(group, claimed, type=TYPE)
    assert [1] == processed(store, group)
    assert not store.complete(group, claimed, type=TYPE)


@shifted
def test_it_is_when_the_answer_is_waited_for_later(
    store: RedisStore, group: Group, by_ms: int
) -> None:
    store.emit("a", type=TYPE)
    [claimed] = store.run(group)
    shift(store, by_ms)
    said = [settled(claimed, Outcome.PROCESSED, type=TYPE)]
    assert [] == store.deliveries.begin_complete("w1", group, said).result()
    assert [1] == processed(store, group)


@shifted
def test_deliveries_of_many_handlers_are_skipped(
    store: RedisStore, group: Group, by_ms: int
) -> None:
    other = Group(DOMAIN, "mail.send")
    store.event_log.join(DOMAIN, other.handler, "0")
    store.emit("a", type=TYPE)
    skipped = []
    for each in (group, other):
        [taken] = store.fetch(each).deliveries
        one = Completion(
            taken.entry, key_of(taken.body), taken.attempts, Outcome.SKIPPED, type=TYPE
        )
        skipped.append((each, [one]))
    shift(store, by_ms)
    store.deliveries.skip_many("w1", skipped)
    assert [0, 0] == [held(store, group), held(store, other)]


@shifted
def test_a_chunk_is_completed_and_counted(store: RedisStore, group: Group, by_ms: int) -> None:
    for name in "ab":
        store.emit(name, type=TYPE)
    chunk, fetched = fetch(store, group)
    shift(store, by_ms)
    assert store.chunks.complete("w1", group, chunk, completion(fetched.entries, counters=TALLIES))
    assert [2] == processed(store, group)
    assert [] == store.chunks.open_chunks(group)


@shifted
def test_a_chunk_with_an_exception_is_completed_while_the_next_is_fetched(
    store: RedisStore, group: Group, by_ms: int
) -> None:
    for name in "abcd":
        store.emit(name, type=TYPE)
    chunk, fetched = fetch(store, group, 3)
    told = completion(fetched.entries, counters=TALLIES, exceptions=[failed(fetched.entries[1])])
    shift(store, by_ms)
    completed, following = store.chunks.complete_and_fetch(
        "w1", group, chunk, told, ChunkRequest(group, "next", 3, running=True)
    )
    assert completed
    assert 1 == len(following.entries)
    assert [2] == processed(store, group)
    assert "scheduled" == store.owner(group, fetched.entries[1].id)
    assert ["next"] == [one.id for one in store.chunks.open_chunks(group)]


def test_a_wrong_estimate_is_corrected_once(store: RedisStore, group: Group) -> None:
    shift(store, 5_000_000)
    for name in "ab":
        store.emit(name, type=TYPE)
    [first, second] = store.run(group)
    shift(store, 5_000_000)
    assert store.complete(group, first, type=TYPE)
    assert abs(store.clock.now_ms() - store.registry.now_ms()) < 1000
    assert store.complete(group, second, type=TYPE)
