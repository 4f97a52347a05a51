"""Which of a domain's consumer groups want an event: many handlers are not asked one by one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from celeriac.delivery import Lane
from celeriac.event import Peek, meant_for
from celeriac.handler import Handler

MAX_TYPES = 4096  # remembered


class InterestIndex:
    """By type and by the handlers that an event names; `when=` is not looked at. Pure."""

    def __init__(self, handlers: Iterable[tuple[Lane, Handler]]) -> None:
        self._by_type: dict[str, list[Lane]] = {}
        self._by_pattern: list[tuple[Lane, Handler]] = []
        self._found: dict[str, Sequence[Lane]] = {}
        for lane, handler in handlers:
            if any("*" in pattern or "#" in pattern for pattern in handler.patterns):
                self._by_pattern.append((lane, handler))
                continue
            for type in dict.fromkeys(handler.patterns):
                self._by_type.setdefault(type, []).append(lane)

    def wanting(self, event: Peek) -> Sequence[Lane]:
        """Return the groups that want the event."""
        subscribed = self._found.get(event.type)
        if subscribed is None:
            if len(self._found) >= MAX_TYPES:
                self._found.clear()
            subscribed = self._found[event.type] = self._subscribed(event.type)
        named = event.handlers
        if not named:
            return subscribed
        return [lane for lane in subscribed if meant_for(lane.handler, True, named)]

    def _subscribed(self, type: str) -> Sequence[Lane]:
        matching = (lane for lane, handler in self._by_pattern if handler.matcher.matches(type))
        return [*self._by_type.get(type, []), *matching]
