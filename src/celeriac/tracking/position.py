"""The position of a handler in one domain: its consumer group, and the events it gets."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from celeriac.delivery import Group
from celeriac.event import EventHeader, Matcher, RawEvent, compile_patterns, meant_for
from celeriac.event_log import EventLog, GroupInfo, entry_key, entry_time_ms
from celeriac.event_log.open_chunk import OpenChunk
from celeriac.registry import HandlerRecord


@dataclass(frozen=True, slots=True)
class GroupPosition:
    """One handler in one domain. `info` is None without a consumer group."""

    record: HandlerRecord
    matcher: Matcher
    group: Group
    info: GroupInfo | None

    @property
    def since(self) -> str | None:
        """The entry after which it is subscribed; None if it will begin with the first event."""
        return self.record.since.get(self.group.domain)

    def is_ahead(self, entry: str) -> bool:
        """Return whether the handler has not been given the entry yet."""
        if self.info is None:
            return self.since is None
        return entry_key(entry) > entry_key(self.info.last_delivered)

    def wants(self, event: EventHeader | RawEvent) -> bool:
        return meant_for(self.record.id, self.matcher.matches(event.type), event.handlers)

    def was_subscribed(self, entry: str, event: EventHeader | RawEvent) -> bool:
        """Return whether the handler was subscribed when the entry was appended.

        Its patterns must have matched the type then. An unwanted type matches no pattern, so only
        the subscription to the domain counts.
        """
        if self.since and entry_key(entry) <= entry_key(self.since):
            return False
        added = self.record.added
        since_ms = min(
            (
                added.get(pattern.text, 0)
                for pattern in self.matcher.patterns
                if pattern.matches(event.type)
            ),
            default=0,
        )
        return entry_time_ms(entry) >= since_ms

    def in_chunks(self, entries: Iterable[str]) -> dict[str, OpenChunk]:
        """Return the open chunks by entry, for entries that are in one."""
        if self.info is None or not self.info.chunks:
            return {}
        bounds = [
            (entry_key(chunk.after), entry_key(chunk.upto), frozenset(chunk.entries), chunk)
            for chunk in self.info.chunks
        ]
        by_entry = {}
        for entry in entries:
            key = entry_key(entry)
            for after, upto, named, chunk in bounds:
                if after < key <= upto and (not named or entry in named):
                    by_entry[entry] = chunk
        return by_entry


def group_positions(
    event_log: EventLog, records: Iterable[HandlerRecord], domain: str
) -> list[GroupPosition]:
    """Return the position of every handler that is or will be subscribed to the domain."""
    groups = {info.handler: info for info in event_log.groups(domain)}
    positions = []
    for record in records:
        matcher = compile_patterns(*record.patterns)
        reaches = matcher.domains is None or domain in matcher.domains
        if reaches or domain in record.since:
            group = Group(domain, record.id, record.flow_control)
            positions.append(GroupPosition(record, matcher, group, groups.get(record.id)))
    return positions
