"""The state of each delivery of a chunk, as people see it, at every step of the chunk."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from celeriac.dead_letter import redrive_dead_letter
from celeriac.delivery import Completion, Failure, Group, Outcome
from celeriac.delivery.chunk_store import ChunkCompletion
from celeriac.delivery.run_record import RunOutcome, pack_runs, run_code
from celeriac.event import new_event_id
from celeriac.event_log import Entry, EntryKind, SyncLogAdapter, time_ms
from celeriac.registry import HandlerRecord
from celeriac.store.factory import Backend
from celeriac.store.memory.circuits import MemoryCircuits
from celeriac.store.memory.clock import MemoryClock
from celeriac.tracking import Cell, DeliveryState, Matrix
from celeriac.tracking.cell import HandlerLag
from tests.contract.conftest import MakeStore
from tests.contract.store import DOMAIN, Store, body, key_of
from tests.contract.test_chunks import fetch

WORKED_MS = 1_700_000_000_000
SOURCE = "shop"


def backend_of(store: Store) -> Backend:
    return Backend(
        event_log=store.event_log,
        deliveries=store.deliveries,
        chunks=store.chunks,
        registry=store.registry,
        async_event_log=SyncLogAdapter(store.event_log),
        circuits=MemoryCircuits(MemoryClock()),
        schedules=store.schedules,
    )


@dataclass
class Bus:
    """A handler of `order.placed` and the events of its domain, by their ids."""

    store: Store
    group: Group
    matrix: Matrix

    def emit(self, *ids: str, type: str = "order.placed") -> list[str]:
        return [self.append(id, EntryKind.MADE, type=type) for id in ids]

    def append(
        self, id: str, kind: EntryKind, since_ms: int = 0, *, type: str = "order.placed"
    ) -> str:
        event = body(id, "order/1", source=SOURCE, type=type, specversion="1.0")
        return self.store.event_log.append(DOMAIN, event, kind, since_ms)

    def cells(self, *ids: str) -> list[Cell]:
        return [cell for id in ids for cell in self.matrix.status(id).cells]

    def states(self, *ids: str) -> list[str]:
        return [cell.state.value for cell in self.cells(*ids)]

    def found(self, state: DeliveryState) -> list[str]:
        return [one.id for one in self.matrix.newest(state=state).events]

    @property
    def lag(self) -> HandlerLag:
        [lag] = self.matrix.lag()
        return lag


def bus_of(store: Store) -> Bus:
    group = Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    record = HandlerRecord(
        id=group.handler, service="billing", patterns=("order.placed",), queue="q",
        since={DOMAIN: "0-0"},
    )  # fmt: skip
    store.registry.register(record)
    return Bus(store, group, Matrix(backend_of(store)))


@pytest.fixture
def bus(store: Store) -> Bus:
    return bus_of(store)


def completion(
    entries: list[Entry], *outcomes: RunOutcome, took_us: int = 1000, **more: object
) -> ChunkCompletion:
    """Of entries that were processed, or had these outcomes."""
    ids = [entry.id for entry in entries]
    codes = [run_code(one, took_us) for one in outcomes or [RunOutcome.PROCESSED] * len(ids)]
    record = pack_runs("w1", WORKED_MS, ids, codes)
    return ChunkCompletion(ids[-1], len(ids), record, **more)  # type: ignore[arg-type]


def failed(entry: Entry, outcome: Outcome = Outcome.RETRY) -> Completion:
    failure = Failure(attempt=1, at=1001, error="boom", worker="w1")
    key = key_of(entry.body)
    return Completion(entry.id, key, 1, outcome, failure=failure, type="order.placed")


def complete(bus: Bus, chunk: str, done: ChunkCompletion, group: Group | None = None) -> None:
    assert bus.store.chunks.complete("w1", group or bus.group, chunk, done)


def test_an_entry_waits_until_it_is_fetched(bus: Bus) -> None:
    bus.emit("a", "b")
    assert ["waiting", "waiting"] == bus.states("a", "b")
    fetch(bus.store, bus.group, 1)
    assert ["running", "waiting"] == bus.states("a", "b")
    assert ["b"] == bus.found(DeliveryState.WAITING)
    assert (1, 1, 2) == (bus.lag.waiting, bus.lag.running, bus.lag.unfinished)


def test_a_queued_chunk_is_queued_and_has_begun_nothing(bus: Bus) -> None:
    bus.emit("a", "b")
    chunk, _ = fetch(bus.store, bus.group, running=False)
    first, second = bus.cells("a", "b")
    assert ("queued", 0, "w1", None, None) == (
        first.state, first.attempts, first.worker, first.took_us, first.at_ms,
    )  # fmt: skip
    assert ("queued", 0, "w1") == (second.state, second.attempts, second.worker)
    assert ["b", "a"] == bus.found(DeliveryState.QUEUED)
    assert [] == bus.found(DeliveryState.RUNNING)
    assert (2, 0) == (bus.lag.queued, bus.lag.running)
    assert bus.store.chunks.begin("w2", bus.group, chunk)
    first, _ = bus.cells("a", "b")
    assert ("running", 1, "w2") == (first.state, first.attempts, first.worker)
    assert ["b", "a"] == bus.found(DeliveryState.RUNNING)
    assert (0, 2) == (bus.lag.queued, bus.lag.running)


def test_a_processed_delivery_has_run_time_worker_and_time_without_a_row(bus: Bus) -> None:
    bus.emit("a", "b")
    chunk, fetched = fetch(bus.store, bus.group)
    complete(bus, chunk, completion(list(fetched.entries), took_us=1500))
    for cell in bus.cells("a", "b"):
        assert ("processed", 1, 1500, WORKED_MS, "w1") == (
            cell.state, cell.attempts, cell.took_us, cell.at_ms, cell.worker,
        )  # fmt: skip
    assert ["b", "a"] == bus.found(DeliveryState.PROCESSED)
    assert [] == bus.found(DeliveryState.RUNNING) == bus.found(DeliveryState.MISSING)
    totals = bus.matrix.totals()
    assert (2, 2, 0) == (totals.emitted, totals.processed, totals.missing)
    assert (0, None) == (bus.lag.unfinished, bus.lag.oldest_s)


def test_of_a_chunk_that_is_half_completed_half_is_processed(bus: Bus) -> None:
    bus.emit("a", "b", "c")
    chunk, fetched = fetch(bus.store, bus.group)
    complete(bus, chunk, completion(list(fetched.entries[:2])))
    assert ["processed", "processed", "running"] == bus.states("a", "b", "c")
    assert ["c"] == bus.found(DeliveryState.RUNNING)
    assert ["b", "a"] == bus.found(DeliveryState.PROCESSED)
    assert (0, 1) == (bus.lag.waiting, bus.lag.running)


def test_the_exceptions_of_a_chunk_have_their_own_states(bus: Bus) -> None:
    bus.emit("a", "b", "c", "d")
    chunk, fetched = fetch(bus.store, bus.group)
    a, b, c, d = fetched.entries
    exceptions = [failed(b), failed(c, Outcome.DEAD), failed(d, Outcome.SKIPPED)]
    done = completion([a], exceptions=exceptions)
    complete(bus, chunk, ChunkCompletion(d.id, 4, done.record, exceptions))
    assert ["processed", "scheduled", "dead", "skipped"] == bus.states("a", "b", "c", "d")
    retried, dead = bus.cells("b", "c")
    assert (1, "boom", 1, "w1") == (
        retried.attempts, retried.error, len(retried.failures), retried.worker,
    )  # fmt: skip
    assert (1, "boom", "w1") == (dead.attempts, dead.error, dead.worker)
    assert ["b"] == bus.found(DeliveryState.SCHEDULED)
    assert ["c"] == bus.found(DeliveryState.DEAD)
    assert ["d"] == bus.found(DeliveryState.SKIPPED)
    assert ["a"] == bus.found(DeliveryState.PROCESSED)
    assert (1, 1) == (bus.lag.scheduled, bus.lag.dead)


def test_a_chunk_that_was_requeued_is_scheduled_entry_by_entry(bus: Bus) -> None:
    bus.emit("a", "b")
    chunk, fetched = fetch(bus.store, bus.group)
    complete(bus, chunk, completion(list(fetched.entries[:1])))
    assert 1 == bus.store.chunks.requeue("w1", bus.group, chunk)
    assert ["processed", "scheduled"] == bus.states("a", "b")
    [claimed] = bus.store.run(bus.group, "w2")
    [cell] = bus.cells("b")
    assert ("running", 1, "w2") == (cell.state, cell.attempts, cell.worker)
    assert bus.store.complete(bus.group, claimed, worker="w2")
    assert ["processed", "processed"] == bus.states("a", "b")


def test_a_chunk_whose_lease_expired_is_scheduled(bus: Bus) -> None:
    bus.emit("a")
    fetch(bus.store, bus.group)
    with bus.store.leases_over():
        assert 1 == bus.store.chunks.reclaim([bus.group])
    assert ["scheduled"] == bus.states("a")
    assert ["a"] == bus.found(DeliveryState.SCHEDULED)


def test_a_replay_of_a_processed_delivery_is_its_later_state(bus: Bus) -> None:
    [entry] = bus.emit("a")
    chunk, fetched = fetch(bus.store, bus.group)
    complete(bus, chunk, completion(list(fetched.entries)))
    key = bus.matrix.find("a").key
    assert 1 == bus.store.deliveries.replay(bus.group, [(entry, key)])
    [cell] = bus.cells("a")
    assert ("scheduled", 0, None, None) == (cell.state, cell.attempts, cell.took_us, cell.worker)
    [claimed] = bus.store.run(bus.group)
    assert ["running"] == bus.states("a")
    assert bus.store.complete(bus.group, claimed, Outcome.DEAD)
    assert ["dead"] == bus.states("a")


def test_a_redriven_delivery_keeps_the_history_of_the_chunk(bus: Bus) -> None:
    bus.emit("a")
    chunk, fetched = fetch(bus.store, bus.group)
    one = failed(fetched.entries[0], Outcome.DEAD)
    complete(bus, chunk, ChunkCompletion(one.entry, 1, exceptions=[one]))
    [letter] = bus.store.deliveries.dead(DOMAIN)
    records = bus.store.registry.handlers()
    assert redrive_dead_letter(bus.matrix.backend, records, DOMAIN, letter.id, b'{"actor":"ann"}')
    [claimed] = bus.store.run(bus.group)
    assert bus.store.complete(bus.group, claimed)
    [cell] = bus.cells("a")
    assert ("processed", 1, 1, 1) == (
        cell.state, cell.attempts, len(cell.failures), len(cell.restarts),
    )  # fmt: skip


def test_an_event_of_another_type_is_ignored_once_it_was_fetched(bus: Bus) -> None:
    bus.emit("a", type="order.amended")
    bus.emit("b")
    assert [] == bus.found(DeliveryState.IGNORED)
    chunk, fetched = fetch(bus.store, bus.group)
    assert [] == bus.found(DeliveryState.IGNORED)
    complete(bus, chunk, completion(list(fetched.entries[1:])))
    assert [] == bus.states("a")
    assert ["a"] == bus.found(DeliveryState.IGNORED)
    [event] = bus.matrix.newest(state=DeliveryState.IGNORED).events
    assert ["ignored"] == [cell.state for cell in event.cells]


def test_an_event_that_the_code_of_that_time_did_not_want_is_ignored(bus: Bus) -> None:
    """Its type matches the patterns of today."""
    bus.emit("a")
    chunk, fetched = fetch(bus.store, bus.group)
    complete(bus, chunk, completion(list(fetched.entries), RunOutcome.IGNORED))
    [cell] = bus.cells("a")
    assert ("ignored", 0, None) == (cell.state, cell.attempts, cell.worker)
    assert ["a"] == bus.found(DeliveryState.IGNORED)


def test_entries_before_and_after_the_group_are_distinguished(bus: Bus) -> None:
    """A group that joined late is not expected to have got what was there."""
    late = Group(DOMAIN, "mail.send")
    before, _ = bus.emit("a", "b")
    bus.store.event_log.join(DOMAIN, late.handler, before)
    record = HandlerRecord(
        id=late.handler, service="mail", patterns=("order.placed",), queue="q",
        since={DOMAIN: before},
    )  # fmt: skip
    bus.store.registry.register(record)
    _, fetched = fetch(bus.store, late)
    assert ["b"] == [one.body and "b" for one in fetched.entries]
    assert [("billing.charge", "waiting")] == [(c.handler, c.state) for c in bus.cells("a")]
    assert ["waiting", "running"] == bus.states("b")


def test_a_handler_that_was_removed_has_nothing(bus: Bus) -> None:
    bus.emit("a", "b")
    chunk, fetched = fetch(bus.store, bus.group)
    complete(bus, chunk, completion(list(fetched.entries[:1])))
    assert bus.lag.unfinished == 1
    bus.store.registry.unregister(bus.group.handler)
    bus.store.event_log.leave(DOMAIN, bus.group.handler)
    bus.store.deliveries.forget(bus.group)
    assert [] == bus.states("a", "b")
    assert [] == bus.matrix.lag()
    bus.store.event_log.join(DOMAIN, bus.group.handler, "0")
    assert [] == bus.store.chunks.open_chunks(bus.group)
    assert [None] == bus.store.chunks.runs(bus.group, [fetched.entries[0].id])


def test_the_age_of_a_chunk_is_that_of_its_oldest_entry(bus: Bus) -> None:
    """The chunk begins after the group's position, which may be of long ago."""
    bus.emit("a")
    fetch(bus.store, bus.group)
    assert bus.lag.oldest_s is not None
    assert 0 <= bus.lag.oldest_s < 60


def test_the_record_of_an_entry_that_was_trimmed_is_not_needed(make_store: MakeStore) -> None:
    """Its event is still read where another handler has a dead letter of it."""
    bus = bus_of(make_store(retention_count=1))
    other = Group(DOMAIN, "mail.send")
    bus.store.event_log.join(DOMAIN, other.handler, "0")
    record = HandlerRecord(
        id=other.handler, service="mail", patterns=("order.placed",), queue="q",
        since={DOMAIN: "0-0"},
    )  # fmt: skip
    bus.store.registry.register(record)
    bus.emit("a", "b", "c")
    chunk, fetched = fetch(bus.store, bus.group)
    complete(bus, chunk, completion(list(fetched.entries)))
    chunk, fetched = fetch(bus.store, other)
    one = failed(fetched.entries[0], Outcome.DEAD)
    done = completion(list(fetched.entries[1:]))
    complete(bus, chunk, ChunkCompletion(fetched.entries[-1].id, 3, done.record, [one]), other)
    bus.store.event_log.trim(DOMAIN, exact=True)
    assert 1 == bus.store.event_log.length(DOMAIN)
    bus.store.deliveries.forget(
        bus.group
    )  # as trimming forgets, where a whole record is of old entries
    [event] = bus.matrix.newest(state=DeliveryState.DEAD).events
    assert "a" == event.id
    processed, dead = event.cells
    assert ("processed", 0, None, None) == (
        processed.state, processed.attempts, processed.at_ms, processed.worker,
    )  # fmt: skip
    assert "dead" == dead.state


def test_a_delivery_without_any_record_is_missing(bus: Bus) -> None:
    bus.emit("a", "b")
    chunk, fetched = fetch(bus.store, bus.group)
    complete(bus, chunk, completion(list(fetched.entries)))
    bus.store.deliveries.forget(bus.group)
    assert ["missing", "missing"] == bus.states("a", "b")
    assert ["b", "a"] == bus.found(DeliveryState.MISSING)


def test_a_copy_of_an_event_is_ignored_and_not_missing(bus: Bus) -> None:
    id = new_event_id()
    [first] = bus.emit(id)
    copy = bus.append(id, EntryKind.FOREIGN)
    chunk, fetched = fetch(bus.store, bus.group)
    complete(bus, chunk, ChunkCompletion(copy, 2, completion(list(fetched.entries[:1])).record))
    states = {one.entry: [c.state.value for c in one.cells] for one in bus.matrix.events()}
    assert {first: ["processed"], copy: ["ignored"]} == states
    totals = bus.matrix.totals()
    assert (1, 1, 1, 0) == (totals.emitted, totals.repeated, totals.processed, totals.missing)


def test_an_entry_of_a_second_try_is_ignored(bus: Bus) -> None:
    id, began = new_event_id(), time_ms()
    [first] = bus.emit(id)
    again = bus.append(id, EntryKind.MADE, began)
    chunk, fetched = fetch(bus.store, bus.group)
    complete(bus, chunk, ChunkCompletion(again, 2, completion(list(fetched.entries[:1])).record))
    states = {one.entry: [c.state.value for c in one.cells] for one in bus.matrix.events()}
    assert {first: ["processed"], again: ["ignored"]} == states
    assert 1 == bus.matrix.totals().repeated


@pytest.mark.parametrize("id", ["given", new_event_id()], ids=["given", "made"])
def test_an_event_is_found_by_its_id_without_a_row(
    bus: Bus, monkeypatch: pytest.MonkeyPatch, id: str
) -> None:
    """However many entries are newer."""
    monkeypatch.setattr("celeriac.tracking.reading.MAX_ENTRIES", 5)
    bus.store.deliveries.note_sources(DOMAIN, {SOURCE: 1})
    entry = bus.append(id, EntryKind.GIVEN)
    bus.emit(*(str(n) for n in range(30)))
    chunk, fetched = fetch(bus.store, bus.group)
    complete(bus, chunk, completion(list(fetched.entries)))
    assert entry == bus.matrix.find(id).entry
    assert ["processed"] == bus.states(id)
