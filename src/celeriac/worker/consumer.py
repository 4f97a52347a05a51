"""The part of a worker that listens to the broker, for the apps that celeriac makes.

Celery's setting `worker_consumer` names it. An existing app keeps its own.
"""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from celery.worker import consumer

# What kombu raises at an item of a Redis list that is no message, such as `[]` or no JSON at all.
NO_MESSAGE = (ValueError, TypeError, LookupError, AttributeError)
# Seconds between tries to connect. Celery's own grow to 30, as long as a lease.
RECONNECT = {"interval_start": 0.2, "interval_step": 0.2, "interval_max": 2.0}
UNUSED = "celery.worker.consumer.delayed_delivery:DelayedDelivery"


class Consumer(consumer.Consumer):  # type: ignore[misc]
    """Outlives an item on its queue that is no message; declares nothing that hints do not need.

    Stock Celery ends the worker at such an item. Here the worker reconnects, at most once a second
    if they are many (Celery's own guard against frequent restarts), and its pool goes on. Were the
    item a hint once, the lease heals it. A broker that returns is found within two seconds.
    """

    class Blueprint(consumer.Consumer.Blueprint):  # type: ignore[misc]
        # With quorum queues it declares 28 queues for delays. Delays of events lie in Redis.
        default_steps: ClassVar[list[str]] = [
            step for step in consumer.Consumer.Blueprint.default_steps if step != UNUSED
        ]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        known: tuple[type[Exception], ...] = self.connection_errors  # type: ignore[has-type]
        self.connection_errors = (*known, *NO_MESSAGE)

    def ensure_connected(self, conn: Any) -> Any:
        conn.ensure_connection = partial(conn.ensure_connection, **RECONNECT)
        return super().ensure_connected(conn)
