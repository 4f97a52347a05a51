"""What becomes of an entry that repeats the verified event of another one."""

from __future__ import annotations

import pytest

from celeriac import EventBus
from celeriac.delivery import ClaimResult, Completion, Failure, FetchRequest, Group, Outcome
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkRequest
from celeriac.event import encode, read_header
from celeriac.event_log import EntryKind
from celeriac.executor import Executor
from celeriac.executor.signed_duplicates import claim_results
from celeriac.testing.store import Store

GROUP = Group("order", "billing.charge")
CONCURRENT, DUPLICATE = ClaimResult.CONCURRENT, ClaimResult.DUPLICATE


@pytest.fixture
def entry(bus: EventBus, store: Store) -> str:
    """Of an event that waits for the handler."""
    store.event_log.join("order", GROUP.handler, "0")
    return store.event_log.append("order", encode(bus.event("order.placed")), EntryKind.MADE)


def result(bus: EventBus, entry: str) -> ClaimResult:
    copies = {"9-0": entry}
    return claim_results(Executor(bus.service).process, GROUP, copies)["9-0"]


def test_while_the_other_one_is_in_an_open_chunk_it_waits(
    bus: EventBus, store: Store, entry: str
) -> None:
    chunks = store.backend.chunks
    chunks.fetch("w2", [ChunkRequest(GROUP, "chunk", 10, running=True)])
    assert result(bus, entry) is CONCURRENT
    assert chunks.complete("w2", GROUP, "chunk", ChunkCompletion(entry, 1))
    assert result(bus, entry) is DUPLICATE


def test_while_the_other_one_is_pending_and_has_not_run_it_waits(
    bus: EventBus, store: Store, entry: str
) -> None:
    chunks, deliveries = store.backend.chunks, store.deliveries
    chunks.fetch("w2", [ChunkRequest(GROUP, "chunk", 10, running=True)])
    chunks.requeue("w2", GROUP, "chunk")
    assert result(bus, entry) is CONCURRENT
    [taken] = deliveries.fetch("w2", [FetchRequest(GROUP, 10)])
    assert result(bus, entry) is CONCURRENT
    key = read_header(taken.deliveries[0].body or b"").key
    deliveries.claim("w2", GROUP, [(entry, key)], 10, verifies=True)
    assert result(bus, entry) is CONCURRENT
    failure = Failure(attempt=1, at=1, error="x")
    retried = Completion(entry, key, 1, Outcome.RETRY, delay_ms=60_000, failure=failure)
    assert not deliveries.complete("w2", GROUP, [retried])
    assert result(bus, entry) is DUPLICATE, "the handler was given it, so it was not refused"


def test_without_copies_nothing_is_read(bus: EventBus, store: Store) -> None:
    assert {} == claim_results(Executor(bus.service).process, GROUP, {})
