"""Whom new entries of a crowded domain concern, so that an entry does not wake a thousand lanes.

The dispatcher reads once what is new in such a domain, and asks only for the lanes whose handlers
want some of it. What it read tells more: how far each lane may be moved on, because its handler
wants nothing up to there. Both are hints. A lane that is passed over here wrongly rests a moment,
and whether a group stands where it may be moved from, the ledger checks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from celeriac.errors import InvalidEvent
from celeriac.event import meant_for, peek
from celeriac.ledger import Lane, Unwanted
from celeriac.log import Entry, EventLog, entry_key
from celeriac.subscription import Handler

PAGE, MOST_PAGES = 500, 10  # more new entries than these are likely to concern everybody
MOST_TYPES = 4096  # remembered
MOST_WANTED = 100  # remembered of one lane
FIRST = "0-0"


@dataclass(slots=True)
class Wanted:
    """Of what was read after `after`, the entries that one lane's handler wants, each with the one
    before it in the log."""

    after: str
    entries: deque[tuple[str, str]] = field(default_factory=deque)

    def add(self, before: str, entry: str) -> None:
        self.entries.append((before, entry))
        if len(self.entries) > MOST_WANTED:
            # Of one that is not asked for, nothing is known any more but what comes next.
            self.entries.clear()
            self.after = entry

    def given(self, entry: str) -> None:
        """The group has read on at least to there."""
        while self.entries and entry_key(self.entries[0][1]) <= entry_key(entry):
            self.after = self.entries.popleft()[1]


class Addressees:
    """What one dispatcher has read of its crowded domains."""

    def __init__(self) -> None:
        self._from: dict[str, str] = {}
        self._read_to: dict[str, str] = {}
        self._wanted: dict[Lane, Wanted] = {}
        self._wanting: dict[tuple[str, str], Sequence[Lane]] = {}
        self._subscribed: dict[str, Subscribed] = {}

    def forget(self) -> None:
        """For when there are other lanes than before."""
        self._wanting.clear()
        self._subscribed.clear()
        for domain, read_to in self._read_to.items():
            self._begin(domain, read_to)

    def of(
        self, log: EventLog, domain: str, newest: str, lanes: Mapping[Lane, Handler]
    ) -> list[Lane]:
        """Those of the domain's lanes that want something new. Blocks for a round trip or more.

        `newest` is an entry that was there before this call.
        """
        since = self._read_to.get(domain)
        if since is None:
            self._begin(domain, newest)
            return list(lanes)
        found: dict[Lane, None] = {}
        for _ in range(MOST_PAGES):
            entries = log.read(domain, start=f"({since}", count=PAGE)
            for entry in entries:
                for lane in self._wanting_one(domain, entry, lanes):
                    found[lane] = None
                    self._of(lane).add(since, entry.id)
                self._read_to[domain] = since = entry.id
            if len(entries) < PAGE:
                return list(found)
        self._begin(domain, max(newest, since, key=entry_key))
        return list(lanes)

    def unwanted(self, lane: Lane, handler: Handler) -> Unwanted:
        """What of it the lane may be moved past."""
        upto, wanted = self._read_to.get(lane.domain, FIRST), self._wanted.get(lane)
        after = wanted.after if wanted else self._from.get(lane.domain, FIRST)
        if wanted and wanted.entries:
            upto = wanted.entries[0][0]
        return Unwanted(lane, handler.patterns, after, upto)

    def waits(self, lane: Lane) -> bool:
        """Whether its group was not given yet what it wants, as far as is known."""
        wanted = self._wanted.get(lane)
        return wanted is not None and bool(wanted.entries)

    def given(self, lane: Lane, entries: Iterable[str], *, all_there: bool) -> bool:
        """What a lane was given; `all_there` if that was all that the log had for it. Returns
        whether with this it has all that it wants of what was read."""
        wanted = self._wanted.get(lane)
        if wanted is None or not wanted.entries:
            return False
        newest = (
            self._read_to[lane.domain] if all_there else max(entries, key=entry_key, default=None)
        )
        if newest is not None:
            wanted.given(newest)
        return not wanted.entries

    def _begin(self, domain: str, entry: str) -> None:
        self._from[domain] = self._read_to[domain] = entry
        self._wanted = {k: v for k, v in self._wanted.items() if k.domain != domain}

    def _of(self, lane: Lane) -> Wanted:
        wanted = self._wanted.get(lane)
        if wanted is None:
            wanted = self._wanted[lane] = Wanted(self._from[lane.domain])
        return wanted

    def _wanting_one(
        self, domain: str, entry: Entry, lanes: Mapping[Lane, Handler]
    ) -> Sequence[Lane]:
        try:
            event = peek(entry.body or b"")
            names = event.handlers
        except InvalidEvent:
            return list(lanes)  # one of them has to bury it
        wanting = self._wanting_type(domain, event.type, lanes)
        if not names:
            return wanting
        return [lane for lane in wanting if meant_for(lane.handler, True, names)]

    def _wanting_type(
        self, domain: str, kind: str, lanes: Mapping[Lane, Handler]
    ) -> Sequence[Lane]:
        known = self._wanting.get((domain, kind))
        if known is None:
            if len(self._wanting) >= MOST_TYPES:
                self._wanting.clear()
            if domain not in self._subscribed:
                self._subscribed[domain] = Subscribed(lanes)
            known = self._wanting[domain, kind] = self._subscribed[domain].to(kind)
        return known


class Subscribed:
    """Who subscribes to a type: a thousand handlers of one type each are not asked one by one."""

    def __init__(self, lanes: Mapping[Lane, Handler]) -> None:
        self._by_name: dict[str, list[Lane]] = {}
        self._by_pattern: list[tuple[Lane, Handler]] = []
        for lane, handler in lanes.items():
            if any("*" in pattern or "#" in pattern for pattern in handler.patterns):
                self._by_pattern.append((lane, handler))
                continue
            for name in dict.fromkeys(handler.patterns):
                self._by_name.setdefault(name, []).append(lane)

    def to(self, kind: str) -> Sequence[Lane]:
        named = self._by_name.get(kind, [])
        return [
            *named,
            *(lane for lane, handler in self._by_pattern if handler.matcher.matches(kind)),
        ]
