"""Direct delivery of tasks: from the dispatcher to the pool of the same worker, past the broker.

A delivery task through the broker costs its publisher about half a millisecond, the worker's main
process the same, and both a few round trips. While a process of this worker is idle, direct
delivery avoids these costs: the consumer receives the message as if the broker had delivered it. So
the same task runs, with the same events for Flower, and can be revoked.

Uses only public APIs, checked with Celery 5.7 and kombu 5.7: a bootstep of the consumer, its
`create_task_handler`, `Hub.call_soon` (which wakes the loop from another thread since kombu 5.7),
`celery.worker.state.reserved_requests`, `kombu.message.Message`.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, cast
from uuid import uuid4

import kombu
from celery import Celery, bootsteps, signals
from celery.worker import state
from kombu.message import Message
from kombu.serialization import dumps

logger = logging.getLogger(__name__)

AHEAD = 16  # tasks for each process that wait in the worker
SERVED = 0.5  # seconds after a process was free or began a task in which other tasks may wait
WAKING_KOMBU = (5, 7)
"""The first kombu whose `Hub.call_soon` wakes the loop from another thread."""


def wakes_loop() -> bool:
    """Return whether another thread can wake the worker's loop with the installed kombu."""
    return bool(kombu.VERSION >= WAKING_KOMBU)


class DirectDelivery:
    """Closed until a consumer opens it. Any thread may call `offer`."""

    def __init__(self) -> None:
        self._consumer: Any = None
        self._handle: Callable[[Message], None] | None = None
        self._handed: deque[DirectMessage] = deque()
        # Passed to Celery and not started by a process yet, in order.
        self._unstarted: dict[int, DirectMessage] = {}
        self._served_at = -math.inf
        self._reported = False

    def open(self, consumer: Any) -> None:
        """Accept delivery tasks from now on, if the consumer has an event loop to wake."""
        if consumer.hub is None:
            return
        if not wakes_loop():
            self._report_kombu()
            return
        self._handle = consumer.create_task_handler()
        self._consumer = consumer
        # When the connection to the broker is lost, Celery drops tasks that wait for a process: a
        # broker would redeliver them. A task that runs anyway then finds nothing to claim.
        self._handed.extendleft(reversed(self._unstarted.values()))
        self._unstarted.clear()
        consumer.hub.call_soon(self._drain)

    def _report_kombu(self) -> None:
        # Only once: the consumer opens again after each lost connection.
        if not self._reported:
            self._reported = True
            logger.info(
                "celeriac: every delivery task passes through the broker: kombu %s cannot wake the "
                "worker's loop. Install kombu 5.7 or later for direct delivery.",
                kombu.__version__,
            )

    def close(self) -> None:
        """Accept no more tasks. Accepted tasks that did not start run after the next opening."""
        self._consumer = None

    def offer(
        self,
        app: Celery,
        task: Any,
        queue: str,
        options: Mapping[str, Any],
        *,
        serializer: str = "json",
        busy: bool = False,
    ) -> bool:
        """Deliver the task directly; return False if it must use the broker.

        `options` are those of `as_task_v2`. `busy`: also if the task will wait for a process.
        """
        consumer = self._consumer
        if consumer is None or _is_observed(app):
            return False
        if not consumer.task_consumer.consuming_from(queue):
            return False
        if not (busy or self._is_free(consumer)):
            return False
        self._handed.append(local_message(app, task, queue, options, serializer))
        consumer.hub.call_soon(self._drain)
        return True

    def is_free(self, app: Celery, queue: str) -> bool:
        """Return whether a task of the queue would now be delivered directly to an idle process."""
        consumer = self._consumer
        if consumer is None or _is_observed(app):
            return False
        return bool(consumer.task_consumer.consuming_from(queue)) and self._is_free(consumer)

    def capacity(self, app: Celery, queue: str) -> int | None:
        """Return how many more tasks of the queue may wait for a process of this worker.

        Returns None if direct delivery is unavailable, or if other tasks have occupied the
        processes for a while: another worker may be free.
        """
        consumer = self._consumer
        if consumer is None or _is_observed(app):
            return None
        if not consumer.task_consumer.consuming_from(queue):
            return None
        now = time.monotonic()
        if self._is_free(consumer):
            self._served_at = now
        elif now - self._served_at > SERVED:
            return None
        accepted = len(self._handed) + len(self._unstarted)
        return max(0, AHEAD * _processes(consumer) - accepted)

    def _is_free(self, consumer: Any) -> bool:
        # Busy processes get their tasks from the queue, which other workers share.
        return self._waiting() < _processes(consumer)

    def _waiting(self) -> int:
        return len(state.reserved_requests) + len(self._handed)

    def _drain(self) -> None:
        while self._handed and self._handle is not None:
            message = self._handed.popleft()
            self._unstarted[id(message)] = message
            message.on_finished = self._note_started
            self._handle(message)

    def _note_started(self, message: DirectMessage) -> None:
        self._unstarted.pop(id(message), None)
        self._served_at = time.monotonic()


def _processes(consumer: Any) -> int:
    return getattr(consumer.pool, "num_processes", None) or 1


def _is_observed(app: Celery) -> bool:
    """Return whether any code observes each published message."""
    return bool(
        app.conf.task_send_sent_event
        or signals.before_task_publish.receivers
        or signals.after_task_publish.receivers
    )


class DirectMessage(Message):
    """A message as the broker would deliver it, without a broker to acknowledge it to."""

    content: Any
    on_finished: Callable[[DirectMessage], None] | None = None

    @property
    def payload(self) -> Any:
        return self.content

    def ack(self, multiple: bool = False) -> None:
        self._state = "ACK"
        self._finished()

    def reject(self, requeue: bool = False) -> None:
        self._state = "REJECTED"
        self._finished()

    def _finished(self) -> None:
        if self.on_finished is not None:
            self.on_finished(self)


def local_message(
    app: Celery, task: Any, queue: str, options: Mapping[str, Any], serializer: str = "json"
) -> DirectMessage:
    """Return a message of Celery's protocol 2."""
    sent = app.amqp.as_task_v2(
        str(uuid4()),
        task.name,
        ignore_result=True,
        time_limit=task.time_limit,
        soft_time_limit=task.soft_time_limit,
        **options,
    )
    pack, make = cast("Any", dumps), cast("Any", DirectMessage)
    content_type, encoding, body = pack(sent.body, serializer=serializer)
    message: DirectMessage = make(
        body=body,
        content_type=content_type,
        content_encoding=encoding,
        headers=sent.headers,
        properties={**sent.properties, "delivery_info": {}},
        delivery_info={"exchange": "", "routing_key": queue, "redelivered": False},
        accept=None,
    )
    # A list, as from JSON: other shapes are only refused in messages of a broker.
    message.content = list(sent.body)
    return message


class DirectDeliveryStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Opens direct delivery while the consumer is connected."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    direct: DirectDelivery

    def start(self, parent: Any) -> None:
        self.direct.open(parent)

    def stop(self, parent: Any) -> None:
        self.direct.close()
