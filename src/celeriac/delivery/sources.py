"""Record which sources the events of a domain have, so that an event can be found by its id alone.

The record of an event is stored under its event key, which contains a hash of the source. A reader
that has only the id tries all known sources.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import islice

from celeriac.delivery.store import DeliveryStore
from celeriac.event_log import entry_time_ms

NOTED_AGAIN = 3600.0  # seconds after which a source is recorded again
# In one pass. Recording stays cheap, but incomplete, if each event has a source of its own.
MAX_NOTED = 100
MAX_REMEMBERED = 10_000


class Sources:
    """The sources that one process has seen. Each is recorded once in NOTED_AGAIN."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._noted: set[tuple[str, str]] = set()
        self._forget_at = 0.0
        self._new: dict[str, dict[str, str]] = {}

    def add(self, domain: str, sources: Mapping[str, str]) -> None:
        """`sources` maps each source to an entry of the domain that has it."""
        for source, entry in sources.items():
            if (domain, source) not in self._noted:
                self._new.setdefault(domain, {})[source] = entry

    def flush(self, deliveries: DeliveryStore) -> None:
        """Record the added sources, in one round trip for each domain that has a new one."""
        now = self._clock()
        if now >= self._forget_at or len(self._noted) > MAX_REMEMBERED:
            self._noted.clear()
            self._forget_at = now + NOTED_AGAIN
        new, self._new = self._new, {}
        for domain, sources in new.items():
            recorded = {s: entry_time_ms(entry) for s, entry in islice(sources.items(), MAX_NOTED)}
            deliveries.note_sources(domain, recorded)
            self._noted.update((domain, source) for source in recorded)
