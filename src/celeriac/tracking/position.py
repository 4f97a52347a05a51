"""Where a handler stands in one domain: its consumer group, and which events it is to get."""

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
    """One handler in one domain. `info` is None where it has none."""

    record: HandlerRecord
    matcher: Matcher
    group: Group
    info: GroupInfo | None

    @property
    def since(self) -> str | None:
        """The entry after which it takes part; None: it joins from the first when it is started."""
        return self.record.since.get(self.group.domain)

    def is_ahead(self, entry: str) -> bool:
        """Whether the handler is still to be given the entry."""
        if self.info is None:
            return self.since is None
        return entry_key(entry) > entry_key(self.info.last_delivered)

    def wants(self, event: EventHeader | RawEvent) -> bool:
        return meant_for(self.record.id, self.matcher.matches(event.type), event.handlers)

    def was_subscribed(self, entry: str, event: EventHeader | RawEvent) -> bool:
        """Whether the handler took part in the domain, and its patterns matched events of this
        type, when the entry was appended. An unwanted type matches none: only the first counts."""
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
        """Return entry → open chunk, for those of the entries that are in one."""
        if self.info is None or not self.info.chunks:
            return {}
        bounds = [(entry_key(one.after), entry_key(one.upto), one) for one in self.info.chunks]
        found = {}
        for entry in entries:
            key = entry_key(entry)
            for after, upto, chunk in bounds:
                if after < key <= upto:
                    found[entry] = chunk
        return found


def stands(
    event_log: EventLog, records: Iterable[HandlerRecord], domain: str
) -> list[GroupPosition]:
    """Every handler that takes part in the domain, or will once it is started."""
    groups = {info.handler: info for info in event_log.groups(domain)}
    found = []
    for record in records:
        matcher = compile_patterns(*record.patterns)
        reaches = matcher.domains is None or domain in matcher.domains
        if reaches or domain in record.since:
            group = Group(domain, record.id, record.flow_control)
            found.append(GroupPosition(record, matcher, group, groups.get(record.id)))
    return found
