"""Shadow mode: an event for each call of an existing task, and a handler with the task's outcome.

The matrix then shows the task next to the handler that will replace it, one event for each call,
before anything is switched. One decision moves a call to the handler; the task's message and the
event both carry it.
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
    """Emit an event for each call of a task, and subscribe a handler that ends as the task does.

    Call it where the task is defined, so that producers and workers import it. The event has the
    task's id and the extension `shadow`. A call with a countdown or an eta emits at that time. A
    retry of the task emits nothing. A call never fails because of its event: if the event cannot be
    emitted, a warning is logged and the task does the work.

    Args:
        task: The decorated task. It needs a result backend.
        type: The type of the event.
        data: Takes the arguments of the task and returns the event's data. Default: `args` and
            `kwargs`.
        subject: Takes the arguments of the task and returns the event's subject.
        moved: The part of the subjects, from 0 to 1, that the handler does instead of the task.
            Without `subject`, the part of the ids.

    Returns:
        The id of the handler: `service.<name of the task>_task`.

    Raises:
        SubscriptionError: The task has no results, or an argument is wrong.
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


def is_moved(what: Any) -> bool:
    """Return whether the handler does this call.

    Takes an event in the handler, and the task within the task, which then returns at once: `if
    is_moved(charge): return`.
    """
    if isinstance(what, Event):
        return bool(what.extensions.get(MOVED))
    request = what.request
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
