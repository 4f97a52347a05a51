"""Decide which entries of a chunk run in it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from celeriac.delivery import Completion, Outcome
from celeriac.delivery.repetition import Repetitions
from celeriac.errors import InvalidEvent
from celeriac.event import EventHeader, meant_for, read_header
from celeriac.event_log import Entry, EntryKind
from celeriac.handler import Handler


class ChunkFilter:
    """`others`: other versions of the handler want events that this code does not."""

    def __init__(self, handler: Handler, domain: str, *, others: bool = False) -> None:
        self.handler, self.domain = handler, domain
        self._others = others
        self._wanted: dict[str, bool] = {}
        self._repeated: dict[str, Outcome] = {}

    def accepts(self, entry: Entry, type: str) -> bool:
        """Return whether an event of this type, without other addressing, runs in the chunk.

        If not, `inspect` decides.
        """
        wanted = self._wanted.get(type)
        if wanted is None:
            in_domain = type.partition(".")[0] == self.domain
            wanted = self._wanted[type] = in_domain and self.handler.matcher.matches(type)
        return wanted and not self._is_claimed(entry) and entry.id not in self._repeated

    def _is_claimed(self, entry: Entry) -> bool:
        """Return whether the entry may be a copy, which a separate claim detects. Copies of signed
        events are detected after verification."""
        return entry.kind is EntryKind.FOREIGN and not self.handler.signed

    def inspect(self, entry: Entry) -> EventHeader | Completion | None:
        """Return the header of an event that runs; otherwise the completion of the entry, or None
        if nothing is recorded."""
        try:
            event = read_header(entry.body or b"", self.domain)
        except InvalidEvent:
            return Completion(entry.id, "", 1, Outcome.REQUEUED)
        matches = self.handler.matcher.matches(event.type)
        if not meant_for(self.handler.id, matches, event.handlers):
            requeued = Completion(entry.id, event.key, 1, Outcome.REQUEUED)
            return requeued if self._others else None
        if self._is_claimed(entry):
            return Completion(entry.id, event.key, 1, Outcome.REQUEUED)
        repeated = self._repeated.get(entry.id)
        return event if repeated is None else Completion(entry.id, "", 1, repeated)

    def find_repetitions(
        self,
        entries: Sequence[Entry],
        find: Callable[[Sequence[tuple[Entry, str]]], Repetitions],
    ) -> None:
        """Exclude entries that repeat an event; possible repetitions are claimed separately."""
        inspected = [(entry, self.inspect(entry)) for entry in entries]
        doubtful = [
            (entry, event.key) for entry, event in inspected if isinstance(event, EventHeader)
        ]
        if doubtful:
            repeated = find(doubtful)
            self._repeated = dict.fromkeys(repeated.possible, Outcome.REQUEUED)
            self._repeated |= dict.fromkeys(repeated.certain, Outcome.IGNORED)
