"""Index which of a domain's consumer groups want which events, without checking each handler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from celeriac.delivery import Group
from celeriac.event import EventHeader, meant_for
from celeriac.handler import Handler

MAX_TYPES = 4096  # cached


class InterestIndex:
    """Indexes by type and by the handlers that an event names; ignores `when=`. Pure."""

    def __init__(self, handlers: Iterable[tuple[Group, Handler]]) -> None:
        self._by_type: dict[str, list[Group]] = {}
        self._by_pattern: list[tuple[Group, Handler]] = []
        self._groups_by_type: dict[str, Sequence[Group]] = {}
        for group, handler in handlers:
            if any("*" in pattern or "#" in pattern for pattern in handler.patterns):
                self._by_pattern.append((group, handler))
                continue
            for type in dict.fromkeys(handler.patterns):
                self._by_type.setdefault(type, []).append(group)

    def wanting(self, event: EventHeader) -> Sequence[Group]:
        """Return the groups that want the event."""
        subscribed = self._groups_by_type.get(event.type)
        if subscribed is None:
            if len(self._groups_by_type) >= MAX_TYPES:
                self._groups_by_type.clear()
            subscribed = self._groups_by_type[event.type] = self._subscribed(event.type)
        named = event.handlers
        if not named:
            return subscribed
        return [group for group in subscribed if meant_for(group.handler, True, named)]

    def _subscribed(self, type: str) -> Sequence[Group]:
        matching = (group for group, handler in self._by_pattern if handler.matcher.matches(type))
        return [*self._by_type.get(type, []), *matching]
