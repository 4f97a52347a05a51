"""Task events on demand: sent while a monitor receives them.

Publishing task events costs a worker's main process a third of its time at light load, and usually
no Flower and no `celery events` runs. For the apps that celeriac creates,
`worker_send_task_events` decides:

| value        | task events are sent                                                    |
|--------------|-------------------------------------------------------------------------|
| None (unset) | while a monitor receives them; remote control can turn that off and on  |
| True, `-E`   | always, as by Celery                                                    |
| False        | after remote control turned them on, while a monitor receives them      |

Uses only public APIs of Celery: the app's `events` class, a bootstep of the consumer, and the
groups of its event dispatcher, which `enable_events` and `disable_events` change.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import bootsteps
from celery.app.events import Events
from celery.events.dispatcher import EventDispatcher

from celeriac.worker.event_receiver import receiver_check

logger = logging.getLogger(__name__)

TASK = "task"
CHECK_INTERVAL = 1.0  # seconds until a newly connected monitor receives task events


class OnDemandEventDispatcher(EventDispatcher):  # type: ignore[misc]
    """Drops task events while no monitor receives them, unless they are always sent."""

    has_receivers = False

    def send(self, type: str, *args: Any, **fields: Any) -> Any:
        if self.groups and not self.has_receivers and type.startswith("task-"):
            return None
        return super().send(type, *args, **fields)


class OnDemandEvents(Events):  # type: ignore[misc]
    """`app.events` of the apps that celeriac creates."""

    dispatcher_cls = OnDemandEventDispatcher


def sends_task_events(dispatcher: Any) -> bool:
    """Return whether a worker's event dispatcher, stock ones included, sends task events now."""
    if dispatcher is None or not dispatcher.enabled:
        return False
    if not dispatcher.groups:  # Celery's meaning: all groups, always
        return True
    return TASK in dispatcher.groups and getattr(dispatcher, "has_receivers", True)


class TaskEventsStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Checks for monitors every second while the consumer is connected."""

    requires = ("celery.worker.consumer.events:Events",)

    def __init__(self, parent: Any, task_events: bool | None = None, **options: Any) -> None:
        super().__init__(parent, **options)
        self.enabled = not task_events
        # Once: a reconnect must not undo `disable_events`.
        self._turn_on = parent.app.conf.worker_send_task_events is None
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        dispatcher = parent.event_dispatcher
        if self._turn_on:
            dispatcher.groups.add(TASK)
            self._turn_on = False
        if TASK in dispatcher.groups and not dispatcher.enabled:
            dispatcher.enable()  # --without-gossip and --without-heartbeat disabled it
        has_receivers = receiver_check(dispatcher)
        check_receivers(dispatcher, has_receivers)
        # With an event loop, the error restarts the consumer. A timer's thread would only log it.
        errors = dispatcher.connection.connection_errors if parent.hub is not None else ()
        check = partial(check_receivers, dispatcher, has_receivers, raised=errors)
        self._timer = parent.timer.call_repeatedly(CHECK_INTERVAL, check)

    def stop(self, parent: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def check_receivers(
    dispatcher: Any,
    has_receivers: Callable[[], bool],
    *,
    raised: tuple[type[Exception], ...] = (),
) -> None:
    """Start or stop sending task events. One round trip to the broker.

    Raises the errors that `raised` lists. If a connection died silently, the worker's loop would
    otherwise wait for a reply on each of its connections in turn.
    """
    if TASK not in dispatcher.groups:
        return
    try:
        receives = has_receivers()
    except raised:
        raise
    except Exception as error:
        logger.debug("celeriac: could not ask the broker for monitors: %s", error)
        return
    if receives != dispatcher.has_receivers:
        dispatcher.has_receivers = receives
        state = (
            "task events are sent to monitors" if receives else "no monitor receives task events"
        )
        logger.info("celeriac: %s", state)
