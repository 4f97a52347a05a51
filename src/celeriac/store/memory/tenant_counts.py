"""Counts by tenant in memory."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping

from celeriac.delivery.tenant_counts import TenantCount


class MemoryTenantCounts:
    """Implements TenantCounts. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[TenantCount] = Counter()

    def note(self, counted: Iterable[TenantCount]) -> None:
        with self._lock:
            self._counts.update(counted)

    def read(self) -> Mapping[TenantCount, int]:
        with self._lock:
            return dict(self._counts)
