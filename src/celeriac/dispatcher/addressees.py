"""Whom new entries of a crowded domain concern, so that an entry does not wake a thousand lanes.

The dispatcher reads once what is new in such a domain, and asks only for the lanes whose handlers
want some of it. That is a matter of time alone: a lane that is passed over here rests, and when it
is asked for a moment later, what it does not want is settled as ever, many entries at once.
"""

from __future__ import annotations

from collections.abc import Mapping

from celeriac.errors import InvalidEvent
from celeriac.event import meant_for, peek
from celeriac.ledger import Lane
from celeriac.log import EventLog
from celeriac.subscription import Handler

CROWD = 4  # lanes in one domain
MOST_READ = 200  # more new entries than these are likely to concern everybody
MOST_TYPES = 4096  # remembered


class Addressees:
    """What one dispatcher has read of its crowded domains."""

    def __init__(self) -> None:
        self._read_to: dict[str, str] = {}
        self._wanting: dict[tuple[str, str], tuple[Lane, ...]] = {}

    def forget_types(self) -> None:
        """For when there are other lanes than before."""
        self._wanting.clear()

    def of(
        self, log: EventLog, domain: str, newest: str, lanes: Mapping[Lane, Handler]
    ) -> list[Lane]:
        """Those of the domain's lanes that want something new. Blocks for a round trip.

        `newest` is an entry that was there before this call.
        """
        since = self._read_to.get(domain)
        if len(lanes) < CROWD or since is None:
            self._read_to[domain] = newest
            return list(lanes)
        entries = log.read(domain, start=f"({since}", count=MOST_READ)
        if not entries:  # what rang was trimmed already
            return []
        self._read_to[domain] = entries[-1].id
        if len(entries) == MOST_READ:
            self._read_to[domain] = newest
            return list(lanes)
        found: set[Lane] = set()
        for entry in entries:
            try:
                event = peek(entry.body or b"")
            except InvalidEvent:
                return list(lanes)
            found.update(
                lane
                for lane in self._wanted(domain, event.type, lanes)
                if meant_for(lane.handler, True, event.handlers)
            )
        return [lane for lane in lanes if lane in found]

    def _wanted(self, domain: str, kind: str, lanes: Mapping[Lane, Handler]) -> tuple[Lane, ...]:
        known = self._wanting.get((domain, kind))
        if known is None:
            if len(self._wanting) >= MOST_TYPES:
                self._wanting.clear()
            known = tuple(lane for lane, handler in lanes.items() if handler.matcher.matches(kind))
            self._wanting[domain, kind] = known
        return known
