"""Shadow mode: emit an event for each call of a task, and show the task's outcome as a handler.

The matrix then shows an existing task and its future handler next to each other, one event for each
call, before the migration. Each call is run by either of them: the task's message and the event
carry the same decision.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery.signals import before_task_publish

from celeriac.errors import CeleriacError, Reject, Retry, SubscriptionError
from celeriac.event import Event, current_attempt
from celeriac.handler import in_share

if TYPE_CHECKING:
    from celeriac.bus import EventBus

logger = logging.getLogger(__name__)

# Extensions of the event; the header of the task's message.
SHADOW, MOVED, HEADER = "shadow", "moved", "celeriac_moved"
# How long an outcome is waited for: about a day.
RETRIES, LONGEST_WAIT_S = 1500, 60.0
_ENDED = frozenset({"FAILURE", "REVOKED"})

Data = Callable[..., Any]
Subject = Callable[..., str]


def shadow(
    bus: EventBus,
    task: Any,
    type: str,
    *,
    data: Data | None = None,
    subject: Subject | None = None,
    moved: float = 0.0,
) -> str:
    """Emit an event for each call of a task, and subscribe a handler with the task's outcome.

    Returns the handler's id: `service.<name of the task>_task`. Call it where the task is defined,
    so that producers and workers import it. The event has the task's id and the extension
    `shadow`. `data` and `subject` take the arguments of the task; without `data`, the event's data
    are `args` and `kwargs`. A call with a countdown or an eta delays the event equally. A retry of
    the task emits nothing.

    `moved` is the part of the subjects (without `subject`: of the ids) that the future handler runs
    instead of the task. For them `is_moved` is True, for the event and in the task. If the emit
    fails, the call is not moved and a warning is logged; the caller of the task gets no error.

    Raises SubscriptionError if the task has no result backend.
    """
    if not callable(getattr(task, "apply_async", None)):
        raise SubscriptionError(
            f"shadow() got {task!r}: must be a Celery task. Pass the decorated function"
        )
    if isinstance(moved, bool) or not isinstance(moved, (int, float)) or not 0 <= moved <= 1:
        raise SubscriptionError(f"moved={moved!r}: must be a number from 0 to 1")
    app = task.app
    if task.ignore_result or app.backend.__class__.__name__ == "DisabledBackend":
        raise SubscriptionError(
            f"{task.name} has no results, which shadow() needs. Set result_backend, and remove "
            "ignore_result=True and task_ignore_result"
        )
    publisher = _Publisher(bus, type, data, subject, moved)
    before_task_publish.connect(publisher, sender=task.name, weak=False)

    def outcome(event: Event[Any]) -> None:
        _await_outcome(app.AsyncResult(event.id))

    name = f"{task.name.rpartition('.')[2]}_task"
    outcome.__doc__ = f"Has the outcome of the task {task.name}."
    bus.on(
        type,
        name=name,
        retries=RETRIES,
        when=lambda event: bool(event.extensions.get(SHADOW)),
    )(outcome)
    return f"{bus.settings.service}.{name}"


def is_moved(event_or_task: Any) -> bool:
    """Return whether the handler runs this call instead of the task.

    Use it as `when=` of the handler, and in the task: `if is_moved(charge): return`.
    """
    if isinstance(event_or_task, Event):
        return bool(event_or_task.extensions.get(MOVED))
    request = event_or_task.request
    return bool(getattr(request, HEADER, None) or (request.headers or {}).get(HEADER))


def _await_outcome(result: Any) -> None:
    state = result.state
    if state in _ENDED:
        # Without its message, which may contain data.
        raise Reject(f"the task ended as {state}: {result.result.__class__.__name__}")
    if state != "SUCCESS":
        wait = min(LONGEST_WAIT_S, 2.0 ** min(current_attempt(), 6))
        raise Retry(f"the task is not complete: {state}", after=wait)


class _Publisher:
    """Emits an event for each call of the task, with the task's id."""

    def __init__(
        self,
        bus: EventBus,
        type: str,
        data: Data | None,
        subject: Subject | None,
        moved: float,
    ) -> None:
        self._bus, self._type = bus, type
        self._data, self._subject, self._moved = data, subject, moved

    def __call__(self, headers: Any = None, body: Any = None, **_: Any) -> None:
        """Emit the event. Never raises, so that the task is published in any case."""
        if not isinstance(headers, dict) or headers.get("retries"):
            return
        try:
            if self._emit(headers, body[0], body[1]):
                headers[HEADER] = True
        except Exception as error:
            # A mistake in `data` or `subject` must not break the caller of the task.
            logger.warning(
                "celeriac: %s was not emitted for task %s, which is not moved (%s)",
                self._type,
                headers.get("id"),
                str(error) if isinstance(error, CeleriacError) else type(error).__name__,
            )

    def _emit(self, headers: dict[str, Any], args: Any, kwargs: Any) -> bool:
        """Emit the event and return whether the call is moved, for the header of the task."""
        subject = self._subject(*args, **kwargs) if self._subject else None
        moved = in_share(subject or headers["id"], self._moved)
        eta = headers.get("eta")
        self._bus.emit(
            self._type,
            self._data(*args, **kwargs) if self._data else {"args": args, "kwargs": kwargs},
            id=headers["id"],
            subject=subject,
            at=datetime.fromisoformat(eta) if eta else None,
            extensions={SHADOW: True, **({MOVED: True} if moved else {})},
        )
        return moved
