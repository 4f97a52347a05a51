"""The event keys that entered a domain's log in memory, as append_once.lua records them."""

from __future__ import annotations

from dataclasses import dataclass, field

from celeriac.event_log.registered import Registered

# Same values as in lua/append_once.lua and lua/_ids.lua.
LATE_MS, CLOSE_MS, MAX_INTERVALS = 3_600_000, 60_000, 16


@dataclass(slots=True)
class MemoryIds:
    """Two generations of event keys: see lua/_ids.lua."""

    current: dict[str, Registered] = field(default_factory=dict)
    older: dict[str, Registered] = field(default_factory=dict)
    began_ms: int | None = None
    older_began_ms: int = 0
    # Intervals of time, in ms, with entries that may repeat an event.
    intervals: list[tuple[int, int]] = field(default_factory=list)

    def rotate(self, now_ms: int, window_ms: int) -> None:
        """Begin a new generation if the current one is a window old. Call this first."""
        if self.began_ms is not None and now_ms - self.began_ms >= window_ms:
            self.older, self.older_began_ms = self.current, self.began_ms
            self.current, self.began_ms = {}, None
        if now_ms - self.older_began_ms >= 2 * window_ms:
            self.older = {}

    def get(self, event_key: str) -> Registered | None:
        return self.current.get(event_key) or self.older.get(event_key)

    def put(self, event_key: str, registered: Registered, now_ms: int) -> None:
        self.current[event_key] = registered
        if self.began_ms is None:
            self.began_ms = now_ms

    def contest(self, event_key: str, entry: str) -> None:
        """Allow a later event with this id to enter the log: this entry was refused."""
        for generation in (self.current, self.older):
            if event_key in generation and generation[event_key].entry == entry:
                generation[event_key] = Registered(entry, is_contested=True)

    def resolve(self, event_key: str, entry: str) -> None:
        """Record which entry is the first of an event."""
        for generation in (self.current, self.older):
            if event_key in generation:
                generation[event_key] = Registered(entry)

    def note_ambiguous(self, first_ms: int, last_ms: int) -> None:
        kept = self.intervals
        if kept and first_ms <= kept[-1][1] + CLOSE_MS:
            from_ms, to_ms = kept.pop()
            first_ms, last_ms = min(from_ms, first_ms), max(to_ms, last_ms)
        kept.append((first_ms, last_ms))
        if len(kept) > MAX_INTERVALS:
            oldest, second = kept[:2]
            kept[:2] = [(min(oldest[0], second[0]), max(oldest[1], second[1]))]

    def is_ambiguous(self, first_ms: int, last_ms: int) -> bool:
        """Return whether an entry of this time may repeat an event."""
        return any(from_ms <= last_ms and first_ms <= to_ms for from_ms, to_ms in self.intervals)
