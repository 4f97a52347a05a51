"""What a process reports about a chunk: which entries have a record, and what is counted."""

from __future__ import annotations

import pytest

from celeriac.delivery import Completion, Outcome
from celeriac.delivery.counters import count_processed
from celeriac.delivery.run_record import Run, RunOutcome, parse_record, parse_runs
from celeriac.event import EmittedEvents, build_event, encode, event_key
from celeriac.event.correlation import EmittedEvent
from celeriac.event_log import Entry
from celeriac.executor.completion import Uncounted, Unreported, with_key

EVENT = build_event("order.placed", None, source="shop", id="a")
BODY = encode(EVENT)
EMITTED = EmittedEvents((EmittedEvent("order.paid", "b"),))
NOW = 1_700_000_000_000
TYPE, OTHER = "order.placed", "order.paid"


def entry(n: int) -> Entry:
    return Entry(f"{NOW}-{n}", BODY)


def completion(n: int, outcome: Outcome, took_us: int = 0, **more: object) -> Completion:
    return Completion(entry(n).id, "", 1, outcome, took_us, type=TYPE, **more)  # type: ignore[arg-type]


def ran(*took_us: int, type: str = TYPE, first: int = 1) -> Unreported:
    """The results of entries from `first` on, which took so long."""
    unreported = Unreported()
    for n, took in enumerate(took_us, first):
        unreported.of_type(type).add(entry(n).id, took)
    return unreported


def runs(record: bytes) -> list[Run]:
    upto = entry(9).id
    return list(parse_runs(parse_record(f"0-0 {upto} w\n".encode() + record)))


@pytest.mark.parametrize(
    ("outcome", "emitted", "place"),
    [
        (Outcome.PROCESSED, EmittedEvents(), "processed"),
        (Outcome.PROCESSED, EMITTED, "exceptions"),
        (Outcome.IGNORED, EmittedEvents(), "ignored"),
        (Outcome.IGNORED, EMITTED, "ignored"),
        (Outcome.SKIPPED, EmittedEvents(), "exceptions"),
        (Outcome.RETRY, EmittedEvents(), "exceptions"),
        (Outcome.DEAD, EMITTED, "exceptions"),
    ],
)
def test_only_a_run_with_nothing_to_record_needs_no_record(
    outcome: Outcome, emitted: EmittedEvents, place: str
) -> None:
    unreported = Unreported()
    unreported.add(completion(1, outcome, 70, emitted_events=emitted), entry(1))
    found = {name for name in ("processed", "ignored", "exceptions") if getattr(unreported, name)}
    assert found == {place}
    if place == "processed":
        [some] = unreported.processed.values()
        assert (some.entries, some.took_us) == ([entry(1).id], [70])


@pytest.mark.parametrize("key", ["", "k"])
def test_an_exception_is_reported_with_the_key_of_its_event(key: str) -> None:
    done = Completion(entry(1).id, key, 1, Outcome.RETRY)
    expected = key or event_key("a", "shop")
    assert with_key(done, entry(1)).event_key == expected
    unreported = Unreported()
    unreported.add(done, entry(1))
    assert [one.event_key for one in unreported.exceptions] == [expected]


def test_the_run_times_are_those_of_all_processed_entries() -> None:
    unreported = ran(5, 6)
    unreported.of_type(OTHER).add(entry(3).id, 7)
    unreported.add(completion(4, Outcome.PROCESSED, 8, emitted_events=EMITTED), entry(4))
    unreported.add(completion(5, Outcome.RETRY, 9), entry(5))
    assert unreported.took_us == [5, 6, 7, 8]


def test_dropped_entries_leave_nothing() -> None:
    unreported = ran(5, 6)
    unreported.of_type(OTHER).add(entry(3).id, 7)
    for n, outcome in (
        (4, Outcome.IGNORED),
        (5, Outcome.IGNORED),
        (6, Outcome.DEAD),
        (7, Outcome.DEAD),
    ):
        unreported.add(completion(n, outcome), entry(n))
    unreported.drop({entry(n).id for n in (2, 3, 5, 7)})
    kept = {type: (some.entries, some.took_us) for type, some in unreported.processed.items()}
    assert kept == {TYPE: ([entry(1).id], [5])}
    assert unreported.ignored == [entry(4).id]
    assert [one.entry for one in unreported.exceptions] == [entry(6).id]


def test_an_entry_whose_note_was_interrupted_is_dropped() -> None:
    unreported = ran(5)
    unreported.of_type(TYPE).entries.append(entry(2).id)  # its run time is not noted yet
    unreported.drop({entry(2).id})
    assert unreported.took_us == [5]
    assert unreported.processed[TYPE].entries == [entry(1).id]


def test_progress_has_the_runs_since_the_last_report() -> None:
    unreported = ran(5, 700)
    unreported.add(completion(3, Outcome.IGNORED), entry(3))
    progress = unreported.progress(entry(3).id, 3, "w", NOW)
    assert (progress.until, progress.done) == (entry(3).id, 3)
    assert [(run.entry, run.outcome, run.took_us) for run in runs(progress.record)] == [
        (entry(1).id, RunOutcome.PROCESSED, 5),
        (entry(2).id, RunOutcome.PROCESSED, 700),
        (entry(3).id, RunOutcome.IGNORED, 0),
    ]


def test_without_runs_there_is_no_record() -> None:
    assert Unreported().progress(entry(1).id, 1, "w", NOW).record == b""


def test_a_completion_reports_everything() -> None:
    unreported, uncounted = ran(5), Uncounted()
    unreported.add(completion(2, Outcome.DEAD), entry(2))
    uncounted.add(unreported, NOW)
    done = unreported.completion(entry(2).id, 2, "w", NOW, 77, uncounted)
    assert (done.until, done.done, done.mean_us) == (entry(2).id, 2, 77)
    assert [run.entry for run in runs(done.record)] == [entry(1).id]
    assert [one.entry for one in done.exceptions] == [entry(2).id]
    assert done.counts == uncounted.counts()
    assert done.counters == uncounted.counters()


@pytest.mark.parametrize(
    ("took_us", "exceptions", "counts"),
    [
        ([], 0, {}),
        ([5], 0, {"processed": 1, "busy_us": 5, "chunk 0": 1, "claimed": 1}),
        ([5, 6], 0, {"processed": 2, "busy_us": 11, "chunk 1": 1, "claimed": 2}),
        ([5, 6, 7], 0, {"processed": 3, "busy_us": 18, "chunk 2": 1, "claimed": 3}),
        ([5, 6], 3, {"processed": 2, "busy_us": 11, "chunk 3": 1, "claimed": 5}),
        ([], 1, {"chunk 0": 1, "claimed": 1}),
    ],
)
def test_statistics_count_runs_and_the_size_of_the_chunk(
    took_us: list[int], exceptions: int, counts: dict[str, int]
) -> None:
    """`chunk n` counts the chunks of up to 2**n entries."""
    unreported, uncounted = ran(*took_us), Uncounted()
    for n in range(exceptions):
        unreported.add(completion(100 + n, Outcome.RETRY), entry(100 + n))
    uncounted.add(unreported, NOW)
    assert uncounted.counts() == counts


def test_counters_have_the_time_at_which_each_entry_was_reported() -> None:
    uncounted = Uncounted()
    uncounted.add(ran(5, 6), NOW + 40)
    uncounted.add(ran(7, first=3), NOW + 9000)
    uncounted.add(ran(8, type=OTHER, first=4), NOW + 2)
    ids = [entry(n).id for n in (1, 2, 3)]
    at_ms = [NOW + 40, NOW + 40, NOW + 9000]
    assert uncounted.counters() == {
        **count_processed(TYPE, ids, [5, 6, 7], at_ms),
        **count_processed(OTHER, [entry(4).id], [8], [NOW + 2]),
    }
    assert uncounted.counts()["busy_us"] == 26
