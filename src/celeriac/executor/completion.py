"""What of a chunk runs, and what a process reports of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field

from msgspec.structs import replace

from celeriac.errors import InvalidEvent
from celeriac.event import Peek, meant_for, peek
from celeriac.executor.work import key_of
from celeriac.ledger import Claimed, Outcome, Settled, Verdict
from celeriac.ledger.chunk_store import Completion
from celeriac.ledger.repetition import Repetitions
from celeriac.ledger.run_record import RunOutcome, pack_runs, run_code
from celeriac.ledger.tally import bucket_of
from celeriac.log import Entry, EntryKind, entry_time_ms
from celeriac.subscription import Handler


@dataclass(slots=True)
class ChunkRun:
    """A chunk under way in this process.

    `passed` are the entries that are not run here, with what becomes of them; None stands for
    nothing that is recorded. `settled` are those that ran and were not reported yet. Both are
    reported in the order of the log: `at` is the place of the first entry that was not.
    """

    id: str
    entries: Sequence[Entry]
    passed: Mapping[str, Settled | None]
    settled: dict[str, Settled] = field(default_factory=dict)
    at: int = 0

    @property
    def left(self) -> int:
        """How many entries were not reported yet."""
        return len(self.entries) - self.at


@dataclass(slots=True)
class Filtered:
    """What of a chunk runs, and what becomes of its other entries (see ChunkRun.passed).

    `doubtful` are those that may repeat earlier ones, with their event keys; `sources` are those of
    the events that run, each with an entry.
    """

    claims: list[Claimed] = field(default_factory=list)
    passed: dict[str, Settled | None] = field(default_factory=dict)
    doubtful: list[tuple[Entry, str]] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)

    def pass_over(self, repeated: Repetitions) -> None:
        """Take out what repeats an event; what perhaps does is claimed by itself."""
        passed = dict.fromkeys(repeated.possible, Outcome.RELEASED)
        passed |= dict.fromkeys(repeated.certain, Outcome.IGNORED)
        self.claims = [one for one in self.claims if one.entry not in passed]
        for entry, outcome in passed.items():
            self.passed[entry] = Settled(entry, "", 1, outcome)


def filter_entries(
    handler: Handler,
    domain: str,
    entries: Sequence[Entry],
    *,
    others: bool = False,
    ambiguous: bool = False,
) -> Filtered:
    """Sort the entries of a chunk. `others` says that other versions of the handler want events
    that this code does not, `ambiguous` that entries of any kind may repeat earlier ones."""
    found = Filtered()
    for entry in entries:
        event = _readable(entry, domain)
        if event is None:
            found.passed[entry.id] = Settled(entry.id, "", 1, Outcome.RELEASED)
        elif not meant_for(handler.id, handler.matcher.matches(event.type), event.handlers):
            released = Settled(entry.id, event.key, 1, Outcome.RELEASED) if others else None
            found.passed[entry.id] = released
        elif entry.kind is EntryKind.FOREIGN:
            # Perhaps a copy: its claim finds that out.
            found.passed[entry.id] = Settled(entry.id, event.key, 1, Outcome.RELEASED)
        else:
            found.claims.append(Claimed(entry.id, Verdict.RUN, 1, entry.body))
            found.sources[event.source] = entry.id
            if ambiguous:
                found.doubtful.append((entry, event.key))
    return found


def _readable(entry: Entry, domain: str) -> Peek | None:
    try:
        return peek(entry.body or b"", domain)
    except InvalidEvent:
        return None


def complete_run(run: ChunkRun, worker: str, now_ms: int, mean_us: int) -> Completion | None:
    """Return what to report of the entries that were decided upon, and move `run.at` past them.

    None where the next entry was not.
    """
    first = run.at
    exceptions: list[Settled] = []
    kept: list[Settled] = []
    codes: list[tuple[str, int]] = []
    for entry in run.entries[first:]:
        if entry.id in run.settled:
            settled = run.settled.pop(entry.id)
        elif entry.id in run.passed:
            found = run.passed[entry.id]
            if found is None:
                run.at += 1
                continue
            settled = found
        else:
            break
        run.at += 1
        if settled.outcome is Outcome.IGNORED:
            codes.append((settled.entry, run_code(RunOutcome.IGNORED, 0)))
        elif settled.outcome is Outcome.PROCESSED and not settled.effects:
            codes.append((settled.entry, run_code(RunOutcome.PROCESSED, settled.took_us)))
            kept.append(settled)
        else:
            exceptions.append(with_key(settled, entry))
    if run.at == first:
        return None
    return Completion(
        until=run.entries[run.at - 1].id,
        done=run.at - first,
        record=pack_runs(worker, now_ms, *zip(*codes, strict=True)) if codes else b"",
        exceptions=exceptions,
        counts=_counts(kept, len(kept) + len(exceptions)),
        tallies=_tallies(kept, now_ms),
        mean_us=mean_us,
    )


def with_key(settled: Settled, entry: Entry) -> Settled:
    """Return it with the event's key, which plainly processed events do not need."""
    if settled.event_key:
        return settled
    return replace(settled, event_key=key_of(entry.body))


def _counts(kept: Sequence[Settled], ran: int) -> dict[str, int]:
    counts = {}
    if kept:
        counts["processed"] = len(kept)
        counts["busy_us"] = sum(one.took_us for one in kept)
    if ran:
        counts[f"chunk {(ran - 1).bit_length()}"] = 1
        counts["claimed"] = ran
    return counts


def _tallies(kept: Sequence[Settled], now_ms: int) -> dict[str, int]:
    """By event type, as `tally_processed` in _tally.lua counts them."""
    tallies: dict[str, int] = {}
    for one in kept:
        total = max(0, now_ms - entry_time_ms(one.entry)) * 1000
        waited = max(0, total - one.took_us)
        _add(tallies, f"{one.type} processed", 1)
        for what, us in (("run", one.took_us), ("wait", waited), ("total", total)):
            _add(tallies, f"{one.type} {what} {bucket_of(us)}", 1)
            _add(tallies, f"{one.type} {what} us", us)
    return tallies


def _add(tallies: MutableMapping[str, int], name: str, number: int) -> None:
    tallies[name] = tallies.get(name, 0) + number
