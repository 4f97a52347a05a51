"""Capture the events of the code under test, without handlers and without Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from celeriac.settings import Settings
from celeriac.testing.captured import Captured
from celeriac.testing.store import Store


@contextmanager
def capture() -> Iterator[Captured]:
    """Collect the events that any bus of this process emits in the `with` block.

    Events are checked and encoded, and go nowhere else. No handler runs. Errors of `emit` are
    raised as usual.
    """
    store = Store(Settings.load({}))
    with store.installed():
        yield Captured(store.event_log.emitted)
