"""The end of `emit_many` by an error, a cancellation, a time limit or Ctrl-C."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from celeriac.event import Event, record_emitted
from celeriac.middleware import EmitHooks


class _Counts(Protocol):
    def note_emitted(self, types: Iterable[str]) -> None: ...


def note_interrupted(
    error: BaseException,
    event_log: _Counts,
    hooks: EmitHooks | None,
    events: Sequence[Event[Any]],
    *,
    appended: int = 0,
    before: int,
) -> None:
    """Set `emitted` of the error, and call the hooks for the events of the current pipeline.

    The first `appended` of the events are confirmed, as are `before` events of earlier pipelines.
    """
    error.emitted = before + appended  # type: ignore[attr-defined]
    confirmed = events[:appended]
    record_emitted(confirmed)
    event_log.note_emitted([event.type for event in confirmed])
    if hooks is not None:
        try:
            hooks.appended(confirmed)
        finally:
            hooks.failed(events[appended:], error)
