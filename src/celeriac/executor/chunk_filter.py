"""Which entries of a chunk run in it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from celeriac.delivery import Completion, Outcome
from celeriac.delivery.repetition import Repetitions
from celeriac.errors import InvalidEvent
from celeriac.event import EventHeader, meant_for, read_header
from celeriac.event_log import Entry, EntryKind
from celeriac.handler import Handler


class ChunkFilter:
    """`others` says that other versions of the handler want events that this code does not."""

    def __init__(self, handler: Handler, domain: str, *, others: bool = False) -> None:
        self.handler, self.domain = handler, domain
        self._others = others
        self._wanted: dict[str, bool] = {}
        self._repeated: dict[str, Outcome] = {}

    def takes(self, entry: Entry, type: str) -> bool:
        """Whether an event of this type, without other addressing, runs. `look` has the last word
        where it does not."""
        wanted = self._wanted.get(type)
        if wanted is None:
            in_domain = type.partition(".")[0] == self.domain
            wanted = self._wanted[type] = in_domain and self.handler.matcher.matches(type)
        return wanted and not self._is_claimed(entry) and entry.id not in self._repeated

    def _is_claimed(self, entry: Entry) -> bool:
        """Whether it is perhaps a copy, which its claim finds out. Copies of signed events are
        found once these are verified."""
        return entry.kind is EntryKind.FOREIGN and not self.handler.signed

    def look(self, entry: Entry) -> EventHeader | Completion | None:
        """The addressing of an event that runs; else what becomes of the entry, None for nothing
        that is recorded."""
        try:
            event = read_header(entry.body or b"", self.domain)
        except InvalidEvent:
            return Completion(entry.id, "", 1, Outcome.REQUEUED)
        matches = self.handler.matcher.matches(event.type)
        if not meant_for(self.handler.id, matches, event.handlers):
            released = Completion(entry.id, event.key, 1, Outcome.REQUEUED)
            return released if self._others else None
        if self._is_claimed(entry):
            return Completion(entry.id, event.key, 1, Outcome.REQUEUED)
        repeated = self._repeated.get(entry.id)
        return event if repeated is None else Completion(entry.id, "", 1, repeated)

    def find_repetitions(
        self,
        entries: Sequence[Entry],
        find: Callable[[Sequence[tuple[Entry, str]]], Repetitions],
    ) -> None:
        """Take out what repeats an event; what perhaps does is claimed by itself."""
        looked = [(entry, self.look(entry)) for entry in entries]
        doubtful = [(entry, found.key) for entry, found in looked if isinstance(found, EventHeader)]
        if doubtful:
            repeated = find(doubtful)
            self._repeated = dict.fromkeys(repeated.possible, Outcome.REQUEUED)
            self._repeated |= dict.fromkeys(repeated.certain, Outcome.IGNORED)
