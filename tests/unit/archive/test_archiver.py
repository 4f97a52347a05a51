from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from celeriac.archive.archiver import ArchiveOptions
from celeriac.archive.parquet import FileLimits
from celeriac.archive.storage import ArchiveFile
from celeriac.delivery import DeliveryState
from celeriac.errors import ConfigurationError
from celeriac.event import encode, key_in
from celeriac.event_log import EntryKind
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.tracking import Matrix
from tests.unit.archive.conftest import Bench

FEW = ArchiveOptions(limits=FileLimits(events=3))
HANDLER = "archive.events"


class Killed(BaseException):
    """The process ends here."""


def test_stores_every_event_once_and_in_order(bench: Bench) -> None:
    ids = bench.emit(10)
    assert 10 == bench.archiver(FEW).drain()
    assert ids == bench.ids()


def test_a_file_is_named_after_its_first_entry(bench: Bench) -> None:
    bench.emit(1)
    bench.archiver().drain()
    [entry] = bench.memory.store.event_log.read("order")
    [(day,)] = bench.rows("date::varchar")
    assert [f"domain=order/date={day}/part-{entry.id}.parquet"] == bench.files()


def test_waits_until_an_event_is_old_enough(bench: Bench) -> None:
    archiver = bench.archiver(ArchiveOptions(interval=60))
    bench.emit(2)
    assert 0 == archiver.run_once()
    bench.memory.advance(61)
    bench.emit(1)
    assert 3 == archiver.run_once()
    assert 1 == len(bench.files())


def test_does_not_wait_when_a_file_is_full(bench: Bench) -> None:
    bench.archiver(FEW).run_once()
    bench.emit(3)
    assert 3 == bench.archiver(FEW).run_once()


def test_a_file_has_the_events_of_one_day(bench: Bench) -> None:
    bench.emit(2)
    bench.memory.advance(86_400)
    bench.emit(2)
    bench.archiver().drain()
    assert [(2,), (2,)] == bench.rows("count(*) OVER (PARTITION BY date)")[::2]
    assert 2 == len(bench.files())


def test_a_file_ends_after_its_bytes(bench: Bench) -> None:
    for _ in range(50):
        bench.bus.emit("order.placed", "x" * 1000)
    bench.archiver(ArchiveOptions(limits=FileLimits(size=20_000))).drain()
    assert len(bench.files()) > 1
    assert 50 == len(set(bench.ids()))


def test_each_domain_has_its_files(bench: Bench) -> None:
    bench.emit(2, "order.placed")
    bench.emit(1, "payment.taken")
    bench.archiver().drain()
    assert [("order", 2), ("order", 2), ("payment", 1)] == bench.rows(
        "domain, count(*) OVER (PARTITION BY domain)"
    )


def test_a_domain_that_appears_later_is_stored_from_its_first_event(bench: Bench) -> None:
    archiver = bench.archiver()
    bench.emit(1)
    archiver.run_once(flush=True)
    bench.emit(2, "payment.taken")
    archiver.run_once(flush=True)
    assert 3 == len(bench.ids())


def test_holds_trimming_until_events_are_stored(bench: Bench) -> None:
    archiver = bench.archiver()
    bench.emit(5)
    archiver.run_once()
    log = bench.memory.store.event_log
    bench.memory.advance(365 * 86_400)
    log.trim("order", exact=True)
    assert 5 == log.length("order")
    archiver.run_once(flush=True)
    log.trim("order", exact=True)
    assert 0 == log.length("order")
    assert 5 == len(bench.ids())


def test_the_matrix_shows_events_as_processed(bench: Bench) -> None:
    [id] = bench.emit(1)
    bench.archiver().drain()
    event = Matrix(bench.memory.store.backend).status(id)
    assert [(HANDLER, DeliveryState.PROCESSED)] == [(c.handler, c.state) for c in event.cells]


@pytest.mark.parametrize("at", ["create", "advance", "begin", "complete"])
@pytest.mark.parametrize("after", [False, True])
def test_a_process_killed_at_any_step_stores_nothing_twice_and_loses_nothing(
    bench: Bench, at: str, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before or after a step, and restarted when more events wait and files are larger."""
    ids = bench.emit(5)
    archiver = bench.archiver(FEW)
    target: Any = archiver.storage if at == "create" else archiver.backend.chunks
    with monkeypatch.context() as patch:
        _kill(patch, target, at, after)
        with pytest.raises(Killed):
            archiver.run_once(flush=True)
    ids += bench.emit(5)
    bench.memory.advance(3600)
    restarted = bench.archiver(ArchiveOptions(limits=FileLimits(events=7)))
    restarted.drain()
    restarted.drain()
    assert ids == bench.ids()
    [info] = bench.memory.store.event_log.groups("order")
    assert (0, 0, ()) == (info.pending, info.lag, info.chunks)


def test_killed_between_two_steps_of_one_file(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.archive.archiver.STEP", 2)
    ids = bench.emit(10)
    archiver = bench.archiver()
    with monkeypatch.context() as patch:
        _kill(patch, archiver.backend.chunks, "advance", False, calls=3)
        with pytest.raises(Killed):
            archiver.run_once(flush=True)
    bench.memory.advance(3600)
    bench.archiver().drain()
    assert ids == bench.ids()
    assert 1 == len(bench.files())


def test_two_processes_store_nothing_twice(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second one stores another part of the log while the first one writes its file."""
    ids = bench.emit(4)
    first, second = bench.archiver(), bench.archiver()
    create = first.storage.create

    def slow(file: ArchiveFile, content: bytes) -> bool:
        nonlocal ids
        ids += bench.emit(3)
        second.run_once(flush=True)
        return create(file, content)

    monkeypatch.setattr(first.storage, "create", slow)
    first.run_once(flush=True)
    assert ids == bench.ids()


def test_a_repeated_event_is_stored_once(bench: Bench) -> None:
    bench.emit(1, prefix="a")
    event = bench.bus.event("order.placed", {"n": 1})
    log = bench.memory.store.event_log
    entry = log.append("order", encode(event), EntryKind.MADE)
    log.append("order", encode(event), EntryKind.MADE, int(entry.partition("-")[0]))
    bench.archiver().drain()
    assert ["a0", event.id] == bench.ids()


def test_an_event_that_was_appended_again_for_a_handler_is_not_stored_again(bench: Bench) -> None:
    [id] = bench.emit(1)
    [entry] = bench.memory.store.event_log.read("order")
    bench.memory.store.event_log.append("order", entry.body or b"", EntryKind.REDRIVEN)
    bench.archiver().drain()
    assert [id] == bench.ids()


def test_an_entry_that_is_no_event_is_stored_as_it_is(bench: Bench) -> None:
    bench.emit(1)
    MemoryEventLog.append(bench.memory.store.event_log, "order", b"\xff not an event")
    bench.archiver().drain()
    assert [None, b"\xff not an event"] == [body for (body,) in bench.rows("body")]


def test_a_paused_archive_stores_nothing(bench: Bench) -> None:
    bench.emit(1)
    archiver = bench.archiver()
    bench.memory.store.backend.circuits.pause(HANDLER)
    assert 0 == archiver.run_once(flush=True)
    bench.memory.store.backend.circuits.resume(HANDLER)
    assert 1 == archiver.run_once(flush=True)


def test_ends_when_an_operator_removes_it(bench: Bench) -> None:
    bench.emit(1)
    archiver = bench.archiver()
    archiver.run_once()
    backend = bench.memory.store.backend
    backend.registry.unregister(HANDLER)
    backend.event_log.leave("order", HANDLER)
    bench.emit(1, "payment.taken")
    with pytest.raises(ConfigurationError, match=r"archive\.events was removed by an operator"):
        archiver.run_once()


def test_events_that_an_operator_replays_are_stored_if_their_files_are_gone(bench: Bench) -> None:
    ids = bench.emit(6)
    archiver = bench.archiver(FEW)
    archiver.run_once(flush=True)
    lost, kept = [bench.folder / file for file in bench.files()]
    lost.unlink()
    backend = bench.memory.store.backend
    pairs = [(entry.id, key_in(entry.body)) for entry in backend.event_log.read("order")]
    backend.deliveries.replay(archiver.handler.group("order"), pairs)
    bench.archiver(FEW).drain()
    assert ids == bench.ids()
    assert kept.exists()


def test_two_archives_have_two_names(bench: Bench) -> None:
    bench.emit(1)
    bench.archiver().drain()
    second = bench.archiver(replace(FEW, name="offsite"))
    second.drain()
    assert {HANDLER, "archive.offsite"} == {
        info.handler for info in bench.memory.store.event_log.groups("order")
    }


def test_appears_as_a_worker_until_it_ends(bench: Bench) -> None:
    archiver = bench.archiver()
    archiver.run_once()
    [worker] = bench.memory.store.backend.registry.workers()
    assert (archiver.worker, (HANDLER,)) == (worker.name, worker.handlers)
    archiver.drain()
    assert [] == bench.memory.store.backend.registry.workers()


def _kill(
    patch: pytest.MonkeyPatch, target: Any, name: str, after: bool, *, calls: int = 1
) -> None:
    original, count = getattr(target, name), 0

    def killing(*arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count < calls:
            return original(*arguments, **named)
        if after:
            original(*arguments, **named)
        raise Killed

    patch.setattr(target, name, killing)
