"""The part of a worker that listens to the broker, for the apps that celeriac makes.

Celery's setting `worker_consumer` names it. An existing app keeps its own.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, ClassVar

from amqp.exceptions import NotFound, ResourceLocked  # type: ignore[import-untyped]
from celery.worker import consumer

from celeriac.worker.app import BROKEN_AFTER

# What kombu raises at an item of a Redis list that is no message, such as `[]` or no JSON at all.
NO_MESSAGE = (ValueError, TypeError, LookupError, AttributeError)
# What RabbitMQ says for a while: a queue was deleted after its declaration, or cannot be reached;
# the queue for remote control is still locked by this worker's last connection, whose silence
# RabbitMQ notices a few seconds after the worker did.
NOT_NOW = (NotFound, ResourceLocked)
# Seconds between tries to connect. Celery's own grow to 30, as long as a lease.
RECONNECT = {"interval_start": 0.2, "interval_step": 0.2, "interval_max": 2.0}
UNUSED = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Outlives an item on its queue that is no message, and a queue that is not to be had at the
    time; declares nothing that hints do not need.

    Stock Celery ends the worker there. Here the worker reconnects, at most once a second if that
    goes on (Celery's own guard against frequent restarts), and its pool goes on. Were the item a
    hint once, the lease heals it. A broker that returns is found within two seconds, also
    where the links to it had gone silent: none of them is waited for.
    """

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]
        # With quorum queues it declares 28 queues for delays. Delays of events lie in Redis.
        default_steps: ClassVar[list[str]] = [
            step for step in consumer.Consumer.Blueprint.default_steps if step != UNUSED
        ]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        known: tuple[type[Exception], ...] = self.connection_errors  # type: ignore[has-type]
        self.connection_errors = (*known, *NO_MESSAGE, *NOT_NOW)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        # Celery closes the connection of the task events politely, at the next start, and waits
        # for the answer for ever: a link that died without a word took that one along.
        dispatcher = getattr(self, "event_dispatcher", None)
        events = getattr(dispatcher, "connection", None)
        if events is not None:
            with suppress(Exception):
                events.collect(socket_timeout=BROKEN_AFTER)
        super().on_connection_error_after_connected(exc)

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = partial(conn.ensure_connection, **RECONNECT)
        return super().ensure_connected(conn)
