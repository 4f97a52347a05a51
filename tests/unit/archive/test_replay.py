from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from celeriac import Event
from celeriac.archive.archiver import ArchiveOptions
from celeriac.archive.parquet import FileLimits
from celeriac.archive.replay import ArchiveReplayer
from celeriac.archive.replay_options import ArchiveReplayOptions, Progress
from celeriac.archive.storage import ArchiveFile, Storage
from celeriac.errors import ArchiveError, NotFound
from celeriac.event_log import entry_time_ms
from tests.unit.archive.conftest import Bench

DAY = 86_400
SMALL = ArchiveOptions(limits=FileLimits(events=4))
NOTE = b'{"actor":"ann","did":"replay","operation":"x"}'


class Killed(BaseException):
    """The process ends here."""


class Past:
    """An archive of events that are no longer in the log, and a handler that has seen them."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.seen = bench, list[Event[Any]]()
        self.bus, self.backend = bench.bus, bench.memory.store.backend

    def on(self, *patterns: str, name: str = "index", **options: Any) -> str:
        @self.bus.on(*patterns, name=name, **options)
        def handle(event: Event[Any]) -> None:
            self.seen.append(event)

        self.bench.memory.run_until_idle()
        return f"orders.{name}"

    def store(self, *, trim: bool = True) -> None:
        """Store all events, and remove them from the log."""
        self.bench.memory.run_until_idle()
        self.bench.archiver(SMALL).drain()
        if trim:
            self.bench.memory.advance(30 * DAY)
            for domain in self.backend.event_log.domains():
                self.backend.event_log.trim(domain, exact=True)
                assert 0 == self.backend.event_log.length(domain)
        self.seen.clear()

    def replayer(self, handler: str = "orders.index", **options: Any) -> ArchiveReplayer:
        given = ArchiveReplayOptions(url=self.bench.url, **{"since_ms": 0, **options})
        record = self.backend.registry.handlers()[handler]
        return ArchiveReplayer(
            self.backend, Storage(self.bench.url), record, given, "--since 1970-01-01"
        )

    def replay(self, *, again: bool = False, replaces: bool = False, **options: Any) -> Progress:
        replayer = self.replayer(**options)
        replayer.begin(NOTE, again=again, replaces=replaces)
        done = replayer.run(NOTE)
        self.bench.memory.run_until_idle()
        return done

    @property
    def ids(self) -> list[str]:
        return [event.id for event in self.seen]


@pytest.fixture
def past(bench: Bench) -> Past:
    return Past(bench)


def test_trimmed_events_run_again_with_their_ids_sources_and_times(past: Past) -> None:
    past.on("order.*")
    ids = [
        past.bus.emit("order.placed", {"n": 1}, subject="order/1", extensions={"region": "acme"}),
        past.bus.emit("order.placed", {"n": 2}, id="mine"),
    ]
    past.bench.memory.run_until_idle()
    [first, second] = past.seen
    past.store()
    assert 2 == past.replay().scheduled
    assert ids == past.ids
    for before, after in zip((first, second), past.seen, strict=True):
        assert ("orders.index",) == after.handlers
        assert (before.source, before.time, before.subject, before.data, before.extensions) == (
            after.source, after.time, after.subject, after.data, after.extensions,
        )  # fmt: skip


def test_the_events_of_one_tenant_run_again(past: Past) -> None:
    past.on("order.*")
    for tenant in ("acme", "globex", None):
        past.bus.emit("order.placed", {"n": 1}, id=f"of-{tenant}", tenant=tenant)
    past.bench.memory.run_until_idle()
    past.store()
    assert 1 == past.replay(tenant="acme").scheduled
    assert [("of-acme", "acme")] == [(event.id, event.tenant) for event in past.seen]


def test_only_the_handler_gets_them(past: Past) -> None:
    past.on("order.*")
    past.on("order.*", name="other")
    past.bench.emit(3)
    past.store()
    past.replay()
    assert 3 == len(past.seen)


def test_a_handler_gets_events_from_before_it_was_registered(past: Past) -> None:
    ids = past.bench.emit(10)
    past.store()
    past.on("order.*")
    assert [] == past.ids
    past.replay()
    assert ids == past.ids


def test_events_that_are_still_in_the_log_run_once(past: Past) -> None:
    past.on("order.*")
    ids = past.bench.emit(3)
    past.store()
    kept = past.bench.emit(3)
    past.store(trim=False)
    assert 6 == past.replay().scheduled
    assert sorted(ids + kept) == sorted(past.ids)
    assert 6 == past.backend.event_log.length("order"), "3 were appended again"


def test_an_ordered_handler_gets_them_in_order(past: Past) -> None:
    past.on("order.*", ordered=True)
    ids = [past.bus.emit("order.placed", n, subject="one") for n in range(9)]
    past.store()
    ids += [past.bus.emit("order.placed", n, subject="one") for n in range(3)]
    past.store(trim=False)
    replayer = past.replayer()
    replayer.begin(NOTE)

    def work(progress: Progress) -> None:
        if progress.is_waiting:
            past.bench.memory.run_until_idle()

    replayer.run(NOTE, work)
    past.bench.memory.run_until_idle()
    assert ids == past.ids


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"pattern": "*.cancelled"}, ["c0", "c1"]),
        ({"pattern": "payment.#"}, []),
        ({}, ["p0", "p1", "p2", "c0", "c1"]),
    ],
)
def test_events_are_selected_by_type(
    past: Past, options: dict[str, Any], expected: list[str]
) -> None:
    past.on("order.*")
    past.bench.emit(3, prefix="p")
    past.bench.emit(2, "order.cancelled", prefix="c")
    past.bench.emit(1, "payment.taken", prefix="x")
    past.store()
    assert len(expected) == past.replay(**options).scheduled
    assert expected == past.ids


def test_events_are_selected_by_the_time_of_their_entry(past: Past) -> None:
    past.on("order.*")
    days = []
    for day in range(4):
        days.append(past.bench.emit(5, prefix=f"{day}."))
        past.bench.memory.advance(DAY)
    entries = [entry.id for entry in past.backend.event_log.read("order")]
    past.store()
    since_ms, until_ms = entry_time_ms(entries[5]), entry_time_ms(entries[14])
    assert 10 == sum(past.replayer(since_ms=since_ms, until_ms=until_ms).count().values())
    past.replay(since_ms=since_ms, until_ms=until_ms)
    assert days[1] + days[2] == past.ids


def test_events_for_other_handlers_are_left_out(past: Past) -> None:
    past.on("order.*")
    past.bus.emit("order.placed", 1, handlers=["mail.send"])
    mine = past.bus.emit("order.placed", 2, handlers=["mail.send", "orders.index"])
    past.store()
    assert {("order", "order.placed"): 1} == past.replayer().count()
    past.replay()
    assert [mine] == past.ids


def test_counts_by_domain_and_type_and_changes_nothing(past: Past) -> None:
    past.on("#")
    past.bench.emit(7)
    past.bench.emit(2, "order.cancelled")
    past.bench.emit(1, "payment.taken")
    past.store()
    counts = past.replayer().count()
    assert {
        ("order", "order.placed"): 7,
        ("order", "order.cancelled"): 2,
        ("payment", "payment.taken"): 1,
    } == counts
    assert 0 == past.backend.event_log.length("order")
    assert past.backend.deliveries.audit_log("order") == []


def test_a_repeated_replay_runs_nothing_twice(past: Past) -> None:
    past.on("order.*")
    ids = past.bench.emit(5)
    past.store()
    until_ms = past.backend.registry.now_ms()
    assert 5 == past.replay(until_ms=until_ms).scheduled
    assert not past.replayer(until_ms=until_ms).begin(NOTE)
    assert 5 == past.replay(until_ms=until_ms).scheduled
    assert ids == past.ids
    assert 5 == past.replay(until_ms=until_ms, again=True).scheduled
    assert ids + ids == past.ids


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("call", range(1, 5))
@pytest.mark.parametrize("step", ["begin_archive_replay", "replay_archived"])
@pytest.mark.parametrize("again", [False, True], ids=["first", "again"])
def test_a_process_killed_at_any_step_continues_and_runs_every_event_once(
    past: Past, step: str, call: int, after: bool, again: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.archive.replay.STEP", 2)
    past.on("#")
    ids = [*past.bench.emit(5), *past.bench.emit(3, "payment.taken")]
    past.store()
    if again:
        past.replay()
        past.seen.clear()
        past.bench.memory.advance(1)
    with monkeypatch.context() as patch:
        _kill(patch, past.backend.deliveries, step, call, after)
        try:
            past.replay(again=again)
        except Killed:
            past.bench.memory.advance(1)
            past.replay(again=again)
    assert ids == past.ids
    [restart] = [note for note in past.backend.deliveries.audit_log("order") if note.count][:1]
    assert (NOTE, 5) == (restart.note, restart.count)


def test_two_processes_run_every_event_once(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celeriac.archive.replay.STEP", 2)
    past.on("#")
    ids = [*past.bench.emit(5), *past.bench.emit(3, "payment.taken")]
    past.store()
    first, second = past.replayer(), past.replayer()
    first.begin(NOTE)
    second.begin(NOTE)

    def both(_: Progress) -> None:
        second.run(NOTE)

    assert 8 == first.run(NOTE, both).scheduled
    past.bench.memory.run_until_idle()
    assert sorted(ids) == sorted(past.ids)


def test_another_replay_is_refused_until_the_first_is_finished_or_replaced(past: Past) -> None:
    past.on("order.*")
    past.bench.emit(5)
    past.store()
    first = past.replayer()
    assert first.begin(NOTE)
    with pytest.raises(ArchiveError, match=r"unfinished replay: --since 1970-01-01\. Continue it"):
        past.replay(pattern="order.placed")
    assert 5 == past.replay(pattern="order.placed", replaces=True).scheduled
    with pytest.raises(ArchiveError, match="took the place"):
        first.run(NOTE)
    assert 5 == len(past.seen)


def test_waits_while_the_handler_has_too_many_unfinished_events(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("celeriac.archive.replay.STEP", 2)
    monkeypatch.setattr("celeriac.archive.replay.MAX_IN_FLIGHT", 4)
    monkeypatch.setattr("celeriac.archive.replay.POLL", 0)
    past.on("order.*")
    ids = past.bench.emit(9)
    past.store()
    lengths = list[int]()
    replayer = past.replayer()
    replayer.begin(NOTE)

    def work(progress: Progress) -> None:
        [info] = past.backend.event_log.groups("order")[1:]
        lengths.append(info.pending + (info.lag or 0))
        if progress.is_waiting:
            past.bench.memory.run_until_idle()

    replayer.run(NOTE, work)
    past.bench.memory.run_until_idle()
    assert ids == past.ids
    assert 4 == max(lengths)


def test_the_archive_does_not_store_them_again(past: Past) -> None:
    past.on("order.*")
    ids = past.bench.emit(5)
    past.store()
    past.replay()
    past.bench.archiver(SMALL).drain()
    assert ids == past.bench.ids()


def test_a_handler_without_a_group_is_refused(past: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("celeriac.archive.replay.JOIN_TIMEOUT", 0)
    past.on("order.*")
    past.bench.emit(1)
    past.store()
    replayer = past.replayer()
    past.backend.event_log.leave("order", "orders.index")
    with pytest.raises(NotFound, match=r"has no group in the domain order\. Start its worker"):
        replayer.begin(NOTE)


def test_a_missing_folder_is_refused(past: Past) -> None:
    with pytest.raises(ArchiveError, match="cannot be opened"):
        Storage(f"{past.bench.url}-missing", creates=False)


def test_options_that_differ_are_different_replays() -> None:
    some = ArchiveReplayOptions(url="file:///a", since_ms=1)
    others = [
        ArchiveReplayOptions(url="file:///b", since_ms=1),
        ArchiveReplayOptions(url="file:///a", since_ms=2),
        ArchiveReplayOptions(url="file:///a", since_ms=1, until_ms=2),
        ArchiveReplayOptions(url="file:///a", since_ms=1, pattern="order.*"),
    ]
    operations = {each.operation("a.b") for each in (some, *others)} | {some.operation("a.c")}
    assert 6 == len(operations)


def _kill(patch: pytest.MonkeyPatch, target: Any, name: str, calls: int, after: bool) -> None:
    original: Callable[..., Any] = getattr(target, name)
    count = 0

    def killing(*arguments: Any, **named: Any) -> Any:
        nonlocal count
        count += 1
        if count != calls:
            return original(*arguments, **named)
        if after:
            original(*arguments, **named)
        raise Killed

    patch.setattr(target, name, killing)


def test_beginning_lists_the_files_of_each_domain_once(
    past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    past.on("order.*")
    past.bench.emit(3)
    past.store()
    listed: list[str] = []
    files = Storage.files

    def counting(storage: Storage, domain: str, since_ms: int, until_ms: int) -> list[ArchiveFile]:
        listed.append(domain)
        return files(storage, domain, since_ms, until_ms)

    monkeypatch.setattr(Storage, "files", counting)
    assert past.replayer().begin(NOTE)
    assert listed == ["order"]


# -- files that are damaged, or of other programs


def flipped(content: bytes) -> bytes:
    """The content with wrong bytes in its data, and a footer that can be read."""
    middle = bytes(byte ^ 0xFF for byte in content[60:-3000])
    return content[:60] + middle + content[-3000:]


def rewritten(content: bytes, column: str, values: list[object] | None) -> bytes:
    """The file with other values in a column, or without the column."""
    table, output = pq.read_table(pa.BufferReader(content)), pa.BufferOutputStream()
    at = table.schema.get_field_index(column)
    if values is None:
        table = table.remove_column(at)
    else:
        table = table.set_column(at, column, pa.array(values * len(table)))
    pq.write_table(table, output)
    return bytes(output.getvalue().to_pybytes())


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: b"",
        lambda content: content[: len(content) // 2],
        lambda content: b"x" * 1000,
        flipped,
        lambda content: rewritten(content, "appended", None),
        lambda content: rewritten(content, "body", None),
        lambda content: rewritten(content, "entry", [7]),
        lambda content: rewritten(content, "entry", ["x"]),
        lambda content: rewritten(content, "id", [""]),
    ],
)
def test_a_damaged_file_ends_the_replay_with_its_name(
    past: Past, damage: Callable[[bytes], bytes]
) -> None:
    """The replay continues where it ended, once the file is restored."""
    past.on("order.*")
    past.bench.emit(6)
    past.store()
    [first, second] = [past.bench.folder / name for name in past.bench.files()]
    content = second.read_bytes()
    second.write_bytes(damage(content))
    with pytest.raises(ArchiveError, match=f"{second.name}|entry .* is not an event"):
        past.replay()
    second.write_bytes(content)
    assert past.replay().scheduled == 6
    assert first.exists()


def test_other_files_and_folders_are_not_read(past: Past) -> None:
    past.on("order.*")
    past.bench.emit(3)
    past.store()
    domain = past.bench.folder / "domain=order"
    [day] = domain.iterdir()
    for folder in ("date=", "date=today", "date=2026-13-01", "tmp"):
        (domain / folder).mkdir()
    for name in ("part-x.parquet", "README", "part-1-0.parquet.tmp"):
        (day / name).write_text("x")
    assert past.replay().scheduled == 3
