"""Whom the entries of a crowded domain concern, so that an entry is not given to a thousand groups.

The dispatcher reads once what is new in such a domain, and asks only for the lanes whose handlers
want some of it: for that by name, and past all else. What it read is a hint. A lane that is passed
over here wrongly rests a moment, and whether a group stands where the names begin, the ledger
checks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from celeriac.errors import InvalidEvent
from celeriac.event import meant_for, peek
from celeriac.ledger import Lane, Stretch
from celeriac.log import Entry, EventLog, entry_key
from celeriac.subscription import Handler

PAGE, MOST_PAGES = 500, 4  # read in one turn
PAGES_BEHIND = 2  # in one turn where more is there than is read in one
MOST_TYPES = 4096  # remembered
MOST_WANTED = 1000  # remembered of one lane
DENSE = 0.5  # a handler that wants more of the entries than that is given all of them
FIRST = "0-0"


class Found(NamedTuple):
    """An entry that a handler wants, the one before it in the log, and its place (see Reading)."""

    before: str
    entry: str
    place: int

    def previous(self) -> Found:
        return Found("", self.before, self.place - 1)


@dataclass(slots=True)
class Wanted:
    """Of what was read after `after`, the entries that one lane's handler wants. Where that is
    further than what was read, its group stands there or further."""

    after: str
    entries: deque[Found] = field(default_factory=deque)

    def add(self, found: Found) -> None:
        if entry_key(found.entry) <= entry_key(self.after):
            return
        self.entries.append(found)
        if len(self.entries) > MOST_WANTED:
            # Of one that is not asked for, nothing is known any more but what comes next.
            self.entries.clear()
            self.after = found.entry

    def given(self, entry: str) -> None:
        """The group has read on at least to there."""
        key = entry_key(entry)
        while self.entries and entry_key(self.entries[0].entry) <= key:
            self.entries.popleft()
        self.after = max(self.after, entry, key=entry_key)


@dataclass(slots=True)
class Reading:
    """How far one domain was read: after the entry `begun`, up to `upto`.

    `place` counts entries up to there: all that the log ever had where `placed`, else from
    anywhere.
    `behind` if there was more.
    """

    begun: str
    upto: str
    place: int = 0
    placed: bool = False
    behind: bool = False


class Addressees:
    """What one dispatcher has read of its crowded domains."""

    def __init__(self) -> None:
        self._readings: dict[str, Reading] = {}
        self._backlogged: set[str] = set()  # of those that were not read yet
        self._wanted: dict[Lane, Wanted] = {}
        self._wanting: dict[tuple[str, str], Sequence[Lane]] = {}
        self._subscribed: dict[str, Subscribed] = {}

    def forget(self) -> None:
        """For when there are other lanes than before."""
        self._wanting.clear()
        self._subscribed.clear()
        for domain, reading in list(self._readings.items()):
            self._begin(domain, reading.upto)

    def of(
        self, log: EventLog, domain: str, newest: str, lanes: Mapping[Lane, Handler]
    ) -> list[Lane]:
        """Those of the domain's lanes that want something new. Blocks for a round trip or more.

        `newest` is an entry that was there before this call. At first it is all lanes.
        """
        reading = self._readings.get(domain)
        if reading is None and domain not in self._backlogged:
            self._begin(domain, newest)
            return list(lanes)
        if reading is None or reading.behind:
            reading = self._skip(log, domain, lanes)
        found: dict[Lane, None] = {}
        if not reading.behind or self.is_behind(domain, lanes):
            self._read_on(log, domain, reading, lanes, found)
        if reading.behind:
            # They were given more than was read, so what rang may be for them.
            found.update(dict.fromkeys(lane for lane in lanes if self._is_ahead(lane, reading)))
        return list(found)

    def read_in_part(self) -> list[str]:
        """The domains where there is more to read, for whomever."""
        behind = [domain for domain, reading in self._readings.items() if reading.behind]
        return [*self._backlogged, *behind]

    def is_behind(self, domain: str, lanes: Collection[Lane]) -> bool:
        """Whether there is more to read for lanes of which nothing is known that they want."""
        if domain in self._backlogged:
            return True
        reading = self._readings.get(domain)
        return (
            reading is not None
            and reading.behind
            and any(not self.waits(lane) and not self._is_ahead(lane, reading) for lane in lanes)
        )

    def stretch(self, lane: Lane, handler: Handler, most: int = 0) -> Stretch:
        """What the lane may be moved past; with `most`, past so many that it is given by name."""
        reading = self._readings.get(lane.domain) or Reading(FIRST, FIRST)
        wanted = self._wanted.get(lane) or Wanted(reading.begun)
        named, upto = self._named(wanted, reading, most)
        placed = reading.placed
        return Stretch(
            lane,
            handler.patterns,
            after=wanted.after,
            upto=upto.entry,
            place=upto.place if placed else None,
            wanted=tuple((one.entry, one.place if placed else None) for one in named),
        )

    def waits(self, lane: Lane) -> bool:
        """Whether its group was not given yet what it wants, as far as is known."""
        wanted = self._wanted.get(lane)
        return wanted is not None and bool(wanted.entries)

    def given(
        self, lane: Lane, stretch: Stretch | None, entries: Sequence[str], *, all_there: bool
    ) -> bool:
        """What a lane was given that was asked for with the stretch; `all_there` if that was all
        that there was for it, in the stretch or in the log. Returns whether with this it has all
        that it wants of what was read, and no more than that."""
        reading, waited = self._readings.get(lane.domain), self.waits(lane)
        if reading is None:
            if all_there or not entries:
                return False
            self._backlogged.add(lane.domain)
        known = list(entries)
        if reading is not None and all_there and waited:
            # By name it was given no more than was named, else all that the log has.
            known.append(stretch.upto if stretch and stretch.wanted else reading.upto)
        if known:
            newest = max(known, key=entry_key)
            begun = reading.begun if reading else FIRST
            self._wanted.setdefault(lane, Wanted(begun)).given(newest)
        has_all = waited and not self.waits(lane)
        return has_all and reading is not None and not self._is_ahead(lane, reading)

    # -- reading

    def _skip(self, log: EventLog, domain: str, lanes: Collection[Lane]) -> Reading:
        """Past what no lane needs to have read, for each was given more."""
        reading = self._readings.get(domain)
        known = [wanted.after for lane in lanes if (wanted := self._wanted.get(lane)) is not None]
        if reading is None:
            # Who is behind the others goes there by itself: it is given all of it.
            return self._begin(domain, max(known, key=entry_key), log)
        if len(known) == len(lanes):
            least = min(known, key=entry_key)
            if entry_key(least) > entry_key(reading.upto):
                return self._begin(domain, least, log)
        return reading

    def _read_on(
        self,
        log: EventLog,
        domain: str,
        reading: Reading,
        lanes: Mapping[Lane, Handler],
        found: dict[Lane, None],
    ) -> None:
        """Adds to `found` whom it concerns."""
        for _ in range(PAGES_BEHIND if reading.behind else MOST_PAGES):
            entries = log.read(domain, start=f"({reading.upto}", count=PAGE)
            for entry in entries:
                reading.place += 1
                one = Found(reading.upto, entry.id, reading.place)
                for lane in self._wanting_one(domain, entry, lanes):
                    found[lane] = None
                    self._wanted.setdefault(lane, Wanted(reading.begun)).add(one)
                reading.upto = entry.id
            reading.behind = len(entries) == PAGE
            if not reading.behind:
                break

    def _begin(self, domain: str, entry: str, log: EventLog | None = None) -> Reading:
        """There, and where a group stands there, it is known at which place."""
        groups = log.groups(domain) if log is not None else []
        place = next((one.read for one in groups if one.last_delivered == entry), None)
        reading = Reading(entry, entry, place or 0, place is not None, behind=log is not None)
        self._readings[domain] = reading
        self._backlogged.discard(domain)
        for lane, wanted in self._wanted.items():
            if lane.domain == domain:
                wanted.entries.clear()
                wanted.given(entry)
        return reading

    def _is_ahead(self, lane: Lane, reading: Reading) -> bool:
        wanted = self._wanted.get(lane)
        return wanted is not None and entry_key(wanted.after) > entry_key(reading.upto)

    def _named(self, wanted: Wanted, reading: Reading, most: int) -> tuple[Sequence[Found], Found]:
        """What is taken by name, and the end of the stretch."""
        entries = wanted.entries
        end = Found("", reading.upto, reading.place)
        if not entries:
            return (), end
        if len(entries) > most:
            end = entries[most].previous()
        named = tuple(islice(entries, most))
        if named and len(named) <= DENSE * (end.place - named[0].place + 1):
            return named, end
        return (), entries[0].previous()

    # -- who wants it

    def _wanting_one(
        self, domain: str, entry: Entry, lanes: Mapping[Lane, Handler]
    ) -> Sequence[Lane]:
        try:
            event = peek(entry.body or b"", domain)
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
