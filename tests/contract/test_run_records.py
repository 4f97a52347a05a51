"""Run records of small chunks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from redis.exceptions import ResponseError

from celeriac.ledger import Lane, Outcome
from celeriac.ledger.chunk_store import Completion
from celeriac.ledger.run_record import RunOutcome, pack_runs, run_code
from celeriac.log import Entry, entry_time_ms
from tests.contract.store import DOMAIN, MemoryStore, RedisStore, Store
from tests.contract.test_chunks import failed, fetch, held


def small(worker: str, entries: Sequence[Entry], took_us: int, **more: object) -> Completion:
    ids = [entry.id for entry in entries]
    at_ms = entry_time_ms(ids[-1]) + 5
    record = pack_runs(worker, at_ms, ids, [run_code(RunOutcome.PROCESSED, took_us)] * len(ids))
    return Completion(ids[-1], len(ids), record, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["runs", "stats", "tally"])
def test_a_completion_that_meets_a_key_of_another_type_changes_nothing(
    store: Store, lane: Lane, kind: str
) -> None:
    if isinstance(store, MemoryStore):
        pytest.skip("nobody else writes to it")
    assert isinstance(store, RedisStore)
    store.emit("a")
    store.emit("b")
    chunk, fetched = fetch(store, lane)
    before = store.chunks.open_chunks(lane)
    key = getattr(store.keys, kind)(DOMAIN, lane.handler)
    store.client.delete(key)
    store.client.set(key, "x")
    done = small(
        "w1",
        fetched.entries,
        1,
        exceptions=[failed(fetched.entries[1], Outcome.DEAD)],
        counts={"processed": 1},
        tallies={"order.placed processed": 1},
    )
    with pytest.raises(ResponseError):
        store.chunks.complete("w1", lane, chunk, done)
    assert before == store.chunks.open_chunks(lane)
    assert (2, 0) == (held(store, lane), store.ledger.dead_count(DOMAIN))
    assert None is store.ledger.pending(lane, fetched.entries[1].id)
    store.client.delete(key)
    assert store.chunks.complete("w1", lane, chunk, done)
    assert (0, 1) == (held(store, lane), store.ledger.dead_count(DOMAIN))
