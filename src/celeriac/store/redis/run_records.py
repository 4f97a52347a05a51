"""Find how entries ran within chunks, in the run records on Redis or Valkey."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from celeriac.delivery.run_record import Run, RunOutcome, RunRecord, parse_record, parse_runs
from celeriac.event_log import entry_key, entry_time_ms
from celeriac.invalid_record import InvalidRecords
from celeriac.store.redis.connection import Client

# Entries that are searched in one round trip, and records that are read for each. The record of an
# entry is the first or the second, unless many records have the same millisecond.
PIVOTS, FIRST, GROWTH = 16, 2, 8
# A sample of each handler's newest records, for `celeriac doctor`.
INSPECTED = 100

Scored = tuple[RunRecord | None, int]  # None: the record is invalid


def find_runs(
    client: Client, key: str, invalid: InvalidRecords, entries: Sequence[str]
) -> dict[str, Run]:
    """Return entry → run for the entries that have a run record. See ChunkStore.runs.

    The records of a handler are intervals of the log without overlap, in a sorted set by the time
    of their last entry. The first record that ends with the entry or later may have it.
    """
    search = _Search(entries)
    while pivots := search.pivots():
        pipeline = client.pipeline(transaction=False)
        for entry, size in pivots:
            pipeline.zrangebyscore(
                key, entry_time_ms(entry), "+inf", start=0, num=size, withscores=True
            )
        answers = pipeline.execute(raise_on_error=False)
        if any(isinstance(answer, ResponseError) for answer in answers):
            for answer in answers:
                invalid.answer(key, answer, [])
            return {entry: _unread(entry) for entry in entries}
        for (entry, size), answer in zip(pivots, answers, strict=True):
            search.note(entry, answer, is_whole=len(answer) < size)
    invalid.report(key, search.faults.items())
    return search.runs


def inspect_runs(client: Client, keys: Iterable[str], invalid: InvalidRecords) -> None:
    """Report invalid ones among the newest records of each key. Blocks for a round trip each."""
    for key in keys:
        newest = partial(client.zrange, key, -INSPECTED, -1, withscores=True)
        answer = invalid.unless_wrong_type(key, newest, None)
        if answer is None:
            continue
        search = _Search(())
        for record, _ in search.parse(answer):
            if record is not None:
                search.read(record, ())
        invalid.report(key, search.faults.items())


class _Search:
    """The found and the remaining entries. `faults`: score → what is wrong with that record."""

    def __init__(self, entries: Iterable[str]) -> None:
        self.runs: dict[str, Run] = {}
        self.faults: dict[bytes, str] = {}
        self._remaining = dict.fromkeys(sorted(set(entries), key=entry_key), FIRST)

    def pivots(self) -> list[tuple[str, int]]:
        """Return some of the remaining entries, and how many records to read for each."""
        remaining = list(self._remaining.items())
        return remaining[:: max(1, -(-len(remaining) // PIVOTS))]

    def note(self, entry: str, answer: Any, *, is_whole: bool) -> None:
        """Process the records from the time of an entry on; `is_whole`: there are no more."""
        records = list(self.parse(answer))
        for record, _ in records:
            if record is not None:
                self._resolve(record)
        if entry not in self._remaining:
            return
        later = {score for record, score in records if record and score > entry_time_ms(entry)}
        # Two later times: a record that has the entry would be before the second of them.
        if not is_whole and len(later) < 2:
            self._remaining[entry] *= GROWTH
            return
        del self._remaining[entry]
        if any(record is None for record, _ in records):
            self.runs[entry] = _unread(entry)

    def _resolve(self, record: RunRecord) -> None:
        keys = [entry_key(entry) for entry in self._remaining]
        first = bisect_right(keys, entry_key(record.after))
        end = bisect_right(keys, entry_key(record.upto))
        covered = list(self._remaining)[first:end]
        if not covered:
            return
        runs = self.read(record, covered)
        for entry in covered:
            del self._remaining[entry]
            run = _unread(entry) if runs is None else runs.get(entry)
            if run is not None:
                self.runs[entry] = run

    def parse(self, answer: Iterable[tuple[bytes, float]]) -> Iterator[Scored]:
        for member, score in answer:
            try:
                yield parse_record(member), int(score)
            except ValueError as error:
                self._fault(score, error)
                yield None, 0

    def read(self, record: RunRecord, wanted: Sequence[str]) -> dict[str, Run] | None:
        """Return the runs of wanted entries; None if the record is invalid."""
        try:
            return {run.entry: run for run in parse_runs(record, frozenset(wanted))}
        except ValueError as error:
            self._fault(entry_time_ms(record.upto), error)
            return None

    def _fault(self, score: float, error: ValueError) -> None:
        self.faults[f"score {score:.0f}".encode()] = str(error)


def _unread(entry: str) -> Run:
    """Return the run of an entry with an invalid record: it was delivered, and is in no open
    chunk."""
    return Run(entry, RunOutcome.PROCESSED, took_us=0, worker="", at_ms=0)
