"""What a process reports about a chunk. Pure."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from msgspec.structs import replace

from celeriac.delivery import Completion, Outcome
from celeriac.delivery.chunk_store import ChunkCompletion, ChunkProgress
from celeriac.delivery.counters import count_processed
from celeriac.delivery.run_record import RunOutcome, pack_runs, processed_codes, run_code
from celeriac.event import key_in
from celeriac.event_log import Entry


class ProcessedEntries:
    """Processed entries of one event type, with the run time of each."""

    __slots__ = ("entries", "took_us")

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.took_us: list[int] = []

    def add(self, entry: str, took_us: int) -> None:
        self.entries.append(entry)
        self.took_us.append(took_us)


class Uncounted:
    """Reported results that are added to the statistics when the chunk is completed."""

    def __init__(self) -> None:
        self._processed: dict[str, ProcessedEntries] = {}
        self._at_ms: dict[str, list[int]] = {}
        self._exceptions = 0

    def add(self, reported: Unreported, now_ms: int) -> None:
        """Add results that are reported now."""
        self._exceptions += len(reported.exceptions)
        for type, some in reported.processed.items():
            entries = self._processed.setdefault(type, ProcessedEntries())
            entries.entries += some.entries
            entries.took_us += some.took_us
            self._at_ms.setdefault(type, []).extend([now_ms] * len(some.entries))

    def counts(self) -> dict[str, int]:
        """Return the additions to the fields of the statistics."""
        took_us = [took for some in self._processed.values() for took in some.took_us]
        counts: dict[str, int] = {}
        if took_us:
            counts |= {"processed": len(took_us), "busy_us": sum(took_us)}
        if ran := len(took_us) + self._exceptions:
            counts |= {f"chunk {(ran - 1).bit_length()}": 1, "claimed": ran}
        return counts

    def counters(self) -> dict[str, int]:
        """Return the additions to the counters by event type."""
        counters: dict[str, int] = {}
        for type, some in self._processed.items():
            counters |= count_processed(type, some.entries, some.took_us, self._at_ms[type])
        return counters


@dataclass(slots=True)
class Unreported:
    """The results since the last report.

    `processed`, by event type, are entries that need no record of their own. `ignored` entries
    repeat an event.
    """

    processed: dict[str, ProcessedEntries] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    exceptions: list[Completion] = field(default_factory=list)

    def of_type(self, type: str) -> ProcessedEntries:
        """Return the processed entries of an event type, for additions."""
        entries = self.processed.get(type)
        if entries is None:
            entries = self.processed[type] = ProcessedEntries()
        return entries

    def add(self, completion: Completion, entry: Entry) -> None:
        if completion.outcome is Outcome.IGNORED:
            self.ignored.append(entry.id)
        elif completion.outcome is Outcome.PROCESSED and not completion.emitted_events:
            self.of_type(completion.type).add(entry.id, completion.took_us)
        else:
            self.exceptions.append(with_key(completion, entry))

    def drop(self, entries: Container[str]) -> None:
        """Drop the results of entries, also one whose `add` was interrupted."""
        for type, some in list(self.processed.items()):
            kept = ProcessedEntries()
            for entry, took_us in zip(some.entries, some.took_us, strict=False):
                if entry not in entries:
                    kept.add(entry, took_us)
            self.processed[type] = kept
            if not kept.entries:
                del self.processed[type]
        self.ignored = [entry for entry in self.ignored if entry not in entries]
        self.exceptions = [c for c in self.exceptions if c.entry not in entries]

    @property
    def took_us(self) -> list[int]:
        """The run times of all processed entries."""
        plain = [took for some in self.processed.values() for took in some.took_us]
        processed = [c for c in self.exceptions if c.outcome is Outcome.PROCESSED]
        return plain + [completion.took_us for completion in processed]

    def progress(self, until: str, done: int, worker: str, now_ms: int) -> ChunkProgress:
        """Return the report of `done` entries, up to `until`, without exceptions."""
        return ChunkProgress(until, done, self._record(until, worker, now_ms))

    def completion(
        self, until: str, done: int, worker: str, now_ms: int, mean_us: int, uncounted: Uncounted
    ) -> ChunkCompletion:
        """Return the report of `done` entries, up to `until`. `uncounted` includes these entries
        and those that were reported before."""
        return ChunkCompletion(
            until=until,
            done=done,
            record=self._record(until, worker, now_ms),
            exceptions=self.exceptions,
            counts=uncounted.counts(),
            counters=uncounted.counters(),
            mean_us=mean_us,
        )

    def _record(self, until: str, worker: str, now_ms: int) -> bytes:
        entries = [entry for some in self.processed.values() for entry in some.entries]
        took_us = [took for some in self.processed.values() for took in some.took_us]
        codes = processed_codes(took_us) + [run_code(RunOutcome.IGNORED, 0)] * len(self.ignored)
        recorded = entries + self.ignored
        return pack_runs(worker, now_ms, recorded, codes, until) if recorded else b""


def with_key(completion: Completion, entry: Entry) -> Completion:
    """Return the completion with its event key, which plain processed events do not need."""
    if completion.event_key:
        return completion
    return replace(completion, event_key=key_in(entry.body))
