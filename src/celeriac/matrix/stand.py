"""Where a handler stands in one domain, and what that says about one event."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from celeriac.event import Matcher, Peek, RawEvent, compile_patterns, meant_for
from celeriac.ledger import SETTLED, Lane, Pending, Row
from celeriac.log import EventLog, Group, entry_key, entry_time_ms
from celeriac.matrix.state import State, state_of
from celeriac.registry import HandlerRecord


@dataclass(frozen=True, slots=True)
class Stand:
    """One handler in one domain. `group` is None where it has none."""

    record: HandlerRecord
    matcher: Matcher
    lane: Lane
    group: Group | None

    @property
    def since(self) -> str | None:
        """The entry after which it takes part; None: it joins from the first when it is started."""
        return self.record.since.get(self.lane.domain)

    def is_ahead(self, entry: str) -> bool:
        """Whether the handler is still to be given the entry."""
        if self.group is None:
            return self.since is None
        return entry_key(entry) > entry_key(self.group.last_delivered)

    def wants(self, event: Peek | RawEvent) -> bool:
        return meant_for(self.record.id, self.matcher.matches(event.type), event.handlers)

    def _took_part(self, entry: str, event: Peek | RawEvent) -> bool:
        """Whether it was subscribed to events of this type when the entry came."""
        if self.since and entry_key(entry) <= entry_key(self.since):
            return False
        added = self.record.added
        since_ms = min(
            added.get(pattern.text, 0)
            for pattern in self.matcher.patterns
            if pattern.matches(event.type)
        )
        return entry_time_ms(entry) >= since_ms

    def state(
        self,
        entry: str,
        event: Peek | RawEvent,
        row: Row | None,
        pending: Pending | None,
        remembered_from_ms: int,
    ) -> State | None:
        """The state of the cell, or None if there is none to be expected.

        `group`, `pending` and `row` must have been read in that order: a delivery that moves
        meanwhile is then seen in its old place or in its new one, and never in none.
        """
        if row is None and not self.wants(event):
            return None
        if row is not None and row.state in SETTLED:
            return state_of(row.state)
        if pending is not None:
            return state_of(pending.owner)
        if self.is_ahead(entry):
            return State.WAITING if row is None else state_of(row.state)
        if row is None and not self._took_part(entry, event):
            return None
        return State.FORGOTTEN if entry_time_ms(entry) < remembered_from_ms else State.MISSING


def stands(log: EventLog, records: Iterable[HandlerRecord], domain: str) -> list[Stand]:
    """Every handler that takes part in the domain, or will once it is started."""
    groups = {group.handler: group for group in log.groups(domain)}
    found = []
    for record in records:
        matcher = compile_patterns(*record.patterns)
        reaches = matcher.domains is None or domain in matcher.domains
        if reaches or domain in record.since:
            lane = Lane(domain, record.id, record.ordered)
            found.append(Stand(record, matcher, lane, groups.get(record.id)))
    return found
