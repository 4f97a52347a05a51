"""Run records: every run comes back, in a few bytes each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.delivery.run_record import (
    Run,
    RunOutcome,
    RunRecord,
    pack_runs,
    parse_record,
    parse_run_code,
    parse_runs,
    run_code,
)
from celeriac.delivery.small_frame import MAX_ENTRIES, SPAN_MS

OUTCOMES = st.sampled_from(RunOutcome)


@given(OUTCOMES, st.integers(0, 10**12))
def test_a_run_time_is_right_to_half_a_percent(outcome: RunOutcome, took_us: int) -> None:
    code = run_code(outcome, took_us)
    assert 0 <= code < 1 << 16
    parsed, time_us = parse_run_code(code)
    assert parsed is outcome
    assert took_us * 0.995 - 1 <= time_us <= took_us


def test_a_run_time_of_years_is_the_longest_there_is() -> None:
    assert parse_run_code(run_code(RunOutcome.PROCESSED, 10**15))[1] > 10**12


@given(st.lists(st.lists(st.tuples(OUTCOMES, st.integers(0, 500)), min_size=1), max_size=3))
def test_every_run_of_every_frame_comes_back(frames: list[list[tuple[RunOutcome, int]]]) -> None:
    record, expected = b"", []
    for number, runs in enumerate(frames):
        entries = [f"{1_000 + number}-{n}" for n in range(len(runs))]
        record += pack_runs(f"w{number}", number, entries, [run_code(*run) for run in runs])
        expected += [
            Run(entry, outcome, took_us, f"w{number}", number)
            for entry, (outcome, took_us) in zip(entries, runs, strict=True)
        ]
    assert expected == list(parse_runs(RunRecord("0-0", "1002-0", (), record)))


def test_a_chunk_of_a_thousand_costs_few_bytes_an_entry() -> None:
    entries = [f"{1_795_713_500_000 + n // 3}-{n % 3}" for n in range(1000)]
    codes = [run_code(RunOutcome.PROCESSED, n % 97) for n in range(1000)]
    assert len(pack_runs("orders@host", 1_795_713_500_000, entries, codes)) < 8 * 1000


LARGE = pack_runs("w", 0, ["1-1"], [0])  # recorded before it was emitted
SMALL = pack_runs("w", 9, ["1-1"], [0])


@pytest.mark.parametrize(
    "record",
    [
        *(b"\0", b"\0\0\0\5", b"\0\0\0\1\xc1", b"\0\0\0\1\x90", LARGE[:-1]),
        *(SMALL[:end] for end in range(1, len(SMALL))),
        SMALL[:1] + b"\1" + SMALL[2:],  # a worker that is not in the header
        SMALL[:2] + b"\xff" * 20,
    ],
)
def test_what_is_no_record_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match="is not a run record"):
        list(parse_runs(RunRecord("0-0", "1-1", ("w",), record)))


IDS = st.tuples(st.integers(0, SPAN_MS - 1), st.integers(0, 1 << 40))


@given(
    st.lists(IDS, min_size=1, max_size=2 * MAX_ENTRIES, unique=True).map(sorted),
    st.integers(0, 1 << 41),
    st.integers(0, 1 << 24),
    st.integers(0, 1 << 24),
    st.integers(0, (1 << 16) - 1),
)
def test_each_run_comes_back_from_a_frame_of_few_entries(
    ids: list[tuple[int, int]], start_ms: int, late_ms: int, beyond_ms: int, code: int
) -> None:
    code &= ~(1 << 15)  # no outcome
    entries = [f"{start_ms + ms}-{sequence}" for ms, sequence in ids]
    codes, at_ms = [code] * len(ids), start_ms + ids[-1][0] + late_ms
    until = f"{start_ms + ids[-1][0] + beyond_ms}-0" if beyond_ms else ""
    frames = pack_runs("w", at_ms, entries, codes, until)
    runs = list(parse_runs(RunRecord("0-0", until or entries[-1], ("w",), frames)))
    assert entries == [run.entry for run in runs]
    assert {(*parse_run_code(code), "w", at_ms)} == {
        (run.outcome, run.took_us, run.worker, run.at_ms) for run in runs
    }


def test_a_few_runs_cost_few_bytes() -> None:
    at_ms = 1_795_713_500_000
    assert len(pack_runs("orders@host", at_ms + 3, [f"{at_ms}-0"], [5])) == 9
    entries = [f"{at_ms + 2 * n}-0" for n in range(10)]
    assert len(pack_runs("orders@host", at_ms + 30, entries, [5] * 10)) == 9 + 9 * 4


def test_the_entries_of_a_small_frame_may_come_in_any_order() -> None:
    """A report has them by event type."""
    entries = ["5-2", "7-0", "5-1", "6-0"]
    record = RunRecord("0-0", "8-0", ("w",), pack_runs("w", 9, entries, [2, 4, 1, 3], "8-0"))
    assert [("5-1", 1), ("5-2", 2), ("6-0", 3), ("7-0", 4)] == [
        (run.entry, run.took_us) for run in parse_runs(record)
    ]


def test_the_header_of_a_record_names_its_workers() -> None:
    record = parse_record(b"1-0 2-5 w1 w2\n" + SMALL)
    assert ("1-0", "2-5", ["w1", "w2"]) == record[:3]
    assert [] == parse_record(b"1-0 2-5\n" + LARGE).workers
