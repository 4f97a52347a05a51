"""The short way of a hint: from the dispatcher to the pool of the same worker, past the broker.

A hint through the broker costs its publisher about half a millisecond, the worker's main process
another one, and both a few round trips. While a process of this very worker has nothing to do, all
of it is spared: the message is given to the consumer as if the broker had delivered it, so what
runs is the same task, with the same events for Flower, revocable like any.

Public parts only, checked with Celery 5.7 and kombu 5.7: a bootstep of the consumer, its
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

AHEAD = 16  # tasks for each process that wait in the worker for it
SERVED = 0.5  # seconds after a process was free, or began a task, in which others may wait
WAKING_KOMBU = (5, 7)
"""The first kombu whose `Hub.call_soon` wakes the loop from another thread."""


def wakes_loop() -> bool:
    """Return whether another thread can wake the worker's loop with the installed kombu."""
    return bool(kombu.VERSION >= WAKING_KOMBU)


class LocalWay:
    """Closed until a consumer opens it. `offer` may be called from any thread."""

    def __init__(self) -> None:
        self._consumer: Any = None
        self._handle: Callable[[Message], None] | None = None
        self._handed: deque[LocalMessage] = deque()
        # Given to Celery, and not started by a process yet: in the order in which they were given.
        self._unstarted: dict[int, LocalMessage] = {}
        self._served_at = -math.inf
        self._reported = False

    def open(self, consumer: Any) -> None:
        """From now on hints may go this way, if the consumer has an event loop to wake."""
        if consumer.hub is None:
            return
        if not wakes_loop():
            self._report_kombu()
            return
        self._handle = consumer.create_task_handler()
        self._consumer = consumer
        # Celery drops what waits for a process when the link to the broker is lost: a broker would
        # send it again. What runs after all finds nothing to do.
        self._handed.extendleft(reversed(self._unstarted.values()))
        self._unstarted.clear()
        consumer.hub.call_soon(self._drain)

    def _report_kombu(self) -> None:
        # Once: the consumer opens again after each lost connection.
        if not self._reported:
            self._reported = True
            logger.info(
                "celeriac: every delivery task passes through the broker: kombu %s cannot wake the "
                "worker's loop. Install kombu 5.7 or later for direct delivery.",
                kombu.__version__,
            )

    def close(self) -> None:
        """What was handed over and not started by a process yet runs after the next opening."""
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
        """Hands the task over; False where it has to go through the broker.

        `options` are those of `as_task_v2`. `busy`: also where it will wait for a process.
        """
        consumer = self._consumer
        if consumer is None or _is_listened_to(app):
            return False
        if not consumer.task_consumer.consuming_from(queue):
            return False
        if not (busy or self._is_free(consumer)):
            return False
        self._handed.append(local_message(app, task, queue, options, serializer))
        consumer.hub.call_soon(self._drain)
        return True

    def is_free(self, app: Celery, queue: str) -> bool:
        """Whether a task of the queue would go this way now, to a process without work."""
        consumer = self._consumer
        if consumer is None or _is_listened_to(app):
            return False
        return bool(consumer.task_consumer.consuming_from(queue)) and self._is_free(consumer)

    def room(self, app: Celery, queue: str) -> int | None:
        """How many more tasks of the queue may go this way to wait for a process; None where none
        can go this way, or other tasks have held the processes for a while: another worker may be
        free."""
        consumer = self._consumer
        if consumer is None or _is_listened_to(app):
            return None
        if not consumer.task_consumer.consuming_from(queue):
            return None
        now = time.monotonic()
        if self._is_free(consumer):
            self._served_at = now
        elif now - self._served_at > SERVED:
            return None
        own = len(self._handed) + len(self._unstarted)
        return max(0, AHEAD * _processes(consumer) - own)

    def _is_free(self, consumer: Any) -> bool:
        # Busy, the processes get hints from the queue, which other workers share.
        return self._waiting() < _processes(consumer)

    def _waiting(self) -> int:
        return len(state.reserved_requests) + len(self._handed)

    def _drain(self) -> None:
        while self._handed and self._handle is not None:
            message = self._handed.popleft()
            self._unstarted[id(message)] = message
            message.settled = self._note_started
            self._handle(message)

    def _note_started(self, message: LocalMessage) -> None:
        self._unstarted.pop(id(message), None)
        self._served_at = time.monotonic()


def _processes(consumer: Any) -> int:
    return getattr(consumer.pool, "num_processes", None) or 1


def _is_listened_to(app: Celery) -> bool:
    """Whether somebody wants to see each message as it is published."""
    return bool(
        app.conf.task_send_sent_event
        or signals.before_task_publish.receivers
        or signals.after_task_publish.receivers
    )


class LocalMessage(Message):
    """As the broker would deliver it; there is nobody to acknowledge it to."""

    content: Any
    settled: Callable[[LocalMessage], None] | None = None

    @property
    def payload(self) -> Any:
        return self.content

    def ack(self, multiple: bool = False) -> None:
        self._state = "ACK"
        self._settle()

    def reject(self, requeue: bool = False) -> None:
        self._state = "REJECTED"
        self._settle()

    def _settle(self) -> None:
        if self.settled is not None:
            self.settled(self)


def local_message(
    app: Celery, task: Any, queue: str, options: Mapping[str, Any], serializer: str = "json"
) -> LocalMessage:
    """The message of Celery's protocol 2."""
    sent = app.amqp.as_task_v2(
        str(uuid4()),
        task.name,
        ignore_result=True,
        time_limit=task.time_limit,
        soft_time_limit=task.soft_time_limit,
        **options,
    )
    pack, make = cast("Any", dumps), cast("Any", LocalMessage)
    content_type, encoding, body = pack(sent.body, serializer=serializer)
    message: LocalMessage = make(
        body=body,
        content_type=content_type,
        content_encoding=encoding,
        headers=sent.headers,
        properties={**sent.properties, "delivery_info": {}},
        delivery_info={"exchange": "", "routing_key": queue, "redelivered": False},
        accept=None,
    )
    # A list, as JSON makes of it: what only a broker's message has the shape of is refused.
    message.content = list(sent.body)
    return message


class LocalWayStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Opens the way while the consumer is connected."""

    requires = ("celery.worker.consumer.tasks:Tasks",)
    way: LocalWay

    def start(self, parent: Any) -> None:
        self.way.open(parent)

    def stop(self, parent: Any) -> None:
        self.way.close()
