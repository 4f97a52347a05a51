"""Capturing: what the code under test emits, while no handler runs and no Redis is needed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celeriac.settings import Settings
from celeriac.testing.captured import Captured
from celeriac.testing.store import Store


@contextmanager
def capture() -> Iterator[Captured]:
    """Collects the events that any bus of this process emits inside; they go nowhere else.

    They are checked and encoded as ever: what Redis would not have been given raises here too.
    """
    store = Store(Settings.load({}))
    with store.in_place():
        yield Captured(store.event_log.emitted)
