"""A Celery consumer that survives invalid messages, for the apps that celeriac creates.

Celery's setting `worker_consumer` names it. An existing app keeps its own.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from amqp.exceptions import NotFound, ResourceLocked  # type: ignore[import-untyped]
from celery.worker import consumer

from celeriac.worker.app import BROKEN_AFTER
from celeriac.worker.celery_fixes.silent_connection import close_if_silent

# What kombu raises for an item of a Redis list that is not a message, such as `[]` or invalid JSON.
NO_MESSAGE = (ValueError, TypeError, LookupError, AttributeError)
# Temporary errors of RabbitMQ: a queue was deleted after its declaration or is unreachable, or the
# remote control queue is still locked by this worker's previous connection, which RabbitMQ detects
# as dead a few seconds after the worker did.
NOT_NOW = (NotFound, ResourceLocked)
# Seconds between attempts to connect. Celery's default grows to 30, as long as a lease.
RECONNECT = {"interval_start": 0.2, "interval_step": 0.2, "interval_max": 2.0}
UNUSED = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Survives an invalid message on its queue and a queue that is temporarily unavailable.

    Stock Celery ends the worker in these cases. Here the worker reconnects, at most once a second
    if the error persists (Celery's limit for restarts), and its pool continues. If the invalid item
    was a delivery task, lease expiry recovers its deliveries. A broker that returns is detected
    within two seconds, even if the old connections to it are silently dead.
    """

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]
        # With quorum queues it declares 28 queues for delays, but Redis stores delayed events.
        default_steps: ClassVar[list[str]] = [
            step for step in consumer.Consumer.Blueprint.default_steps if step != UNUSED
        ]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        known: tuple[type[Exception], ...] = self.connection_errors  # type: ignore[has-type]
        self.connection_errors = (*known, *NO_MESSAGE, *NOT_NOW)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        # At the next start Celery closes the connection of the task events with a handshake, and
        # would wait forever for the reply on a dead connection.
        dispatcher = getattr(self, "event_dispatcher", None)
        events = getattr(dispatcher, "connection", None)
        if events is not None:
            with suppress(Exception):
                events.collect(socket_timeout=BROKEN_AFTER)
        close_if_silent(getattr(self, "connection", None), exc)
        super().on_connection_error_after_connected(exc)

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = partial(conn.ensure_connection, **RECONNECT)
        return super().ensure_connected(conn)
