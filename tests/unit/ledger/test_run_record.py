"""Run records: every run comes back, in a few bytes each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.ledger.run_record import (
    Run,
    RunOutcome,
    pack_runs,
    parse_run_code,
    parse_runs,
    run_code,
)

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
    assert expected == list(parse_runs(record))


def test_a_chunk_of_a_thousand_costs_few_bytes_an_entry() -> None:
    entries = [f"{1_795_713_500_000 + n // 3}-{n % 3}" for n in range(1000)]
    codes = [run_code(RunOutcome.PROCESSED, n % 97) for n in range(1000)]
    assert len(pack_runs("orders@host", 1_795_713_500_000, entries, codes)) < 8 * 1000


@pytest.mark.parametrize(
    "record",
    [b"\0", b"\0\0\0\5", b"\0\0\0\1\xc1", b"\0\0\0\1\x90", pack_runs("w", 0, ["1-1"], [0])[:-1]],
)
def test_what_is_no_record_is_refused(record: bytes) -> None:
    with pytest.raises(ValueError, match="no run record"):
        list(parse_runs(record))
