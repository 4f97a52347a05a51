"""Send delivery tasks: a chunk becomes one Celery task on the queue of its handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from amqp.exceptions import AMQPError, MessageNacked  # type: ignore[import-untyped]
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from celeriac.dispatcher import Chunk
from celeriac.dispatcher.traced import traced
from celeriac.errors import BusUnavailable
from celeriac.service import Service
from celeriac.worker.app import BROKEN_AFTER, is_rabbitmq
from celeriac.worker.broker import broker_address, broker_url
from celeriac.worker.celery_fixes.old_master import OldMaster
from celeriac.worker.delivery_task import write_chunk
from celeriac.worker.direct_delivery import DirectDelivery
from celeriac.worker.queues import declared
from celeriac.worker.serializer import delivery_serializer

# The broker is unreachable, refuses the message, or does not confirm it in time.
FAILURES = (OperationalError, OSError, AMQPError, MessageNacked, RedisError)
# py-amqp does not reconnect by itself, so a failed publish is retried on a new connection. A
# duplicate delivery task is harmless. The missing confirmation detects a silently dead connection.
CONFIRMED: dict[str, Any] = {
    "confirm_timeout": BROKEN_AFTER,
    "retry": True,
    "retry_policy": {
        "max_retries": 1,
        "interval_start": 0,
        "interval_step": 0,
        "interval_max": 0,
    },
}


def delivery_sender(
    app: Celery,
    service: Service,
    *,
    watched: Callable[[], bool],
    direct: DirectDelivery | None = None,
    old_master: OldMaster | None = None,
) -> Callable[[Chunk], None]:
    """Return a function that sends the delivery task of one chunk.

    The function raises BusUnavailable if the broker is unreachable. It bypasses the app's router,
    `task_always_eager` and `task_protocol`, which are meant for the app's own tasks: a delivery
    task goes to its handler's queue, and handlers run in the worker's pool.

    Args:
        watched: Returns whether monitors receive events, so that executors report what happens
            within a chunk.
        direct: Direct delivery to the worker's own pool, if it has one.
        old_master: Closes connections to an old master before a task is sent, with Sentinels.
    """

    # Without a priority, all tasks of a queue share one list, whose length tools can read.
    uses_priorities = any(handler.priority for handler in service.handlers.values())
    confirmed = is_rabbitmq(broker_url(app))
    serializer = delivery_serializer(app)
    publishing: dict[str, Any] = CONFIRMED if confirmed else {"retry": False}
    confirmed_producer = _confirmed_producer(app) if confirmed else None

    def send(chunk: Chunk) -> None:
        first = chunk.items[0].event
        single = len(chunk.items) == 1
        kwargs = write_chunk(chunk)
        if watched():
            kwargs["watched"] = True
        task, queue = app.tasks[chunk.handler.id], chunk.handler.queue
        options = {
            "kwargs": kwargs,
            "kwargsrepr": repr(chunk.describe()),
            "argsrepr": "()",
            "parent_id": first.id if single else None,
            "root_id": (first.correlationid or first.id) if single else None,
        }
        if direct is not None and direct.offer(
            app, task, queue, options, serializer=serializer, busy=chunk.stays
        ):
            return
        # Entries that come from a broker would not be trusted.
        kwargs.pop("entries", None)
        priority = _priority(app, chunk.handler.priority) if uses_priorities else None
        try:
            with app.producer_or_acquire(confirmed_producer) as producer:
                if old_master is not None:
                    old_master.leave(producer.channel)
                app.amqp.send_task_message(
                    producer,
                    task.name,
                    _message(app, task, options),
                    queue=declared(app, queue),
                    priority=priority,
                    serializer=serializer,
                    **publishing,
                )
        except FAILURES as error:
            raise BusUnavailable(
                f"the broker at {broker_address(app)} does not accept delivery tasks ({error}). "
                "Check CELERIAC_BROKER_URL"
            ) from error

    return traced(send, service.settings)


def _message(app: Celery, task: Any, options: dict[str, Any]) -> Any:
    """Return a message of Celery's protocol 2, whose headers delivery tasks need."""
    return app.amqp.as_task_v2(
        str(uuid4()),
        task.name,
        ignore_result=True,
        time_limit=task.time_limit,
        soft_time_limit=task.soft_time_limit,
        create_sent_event=bool(app.conf.task_send_sent_event),
        **options,
    )


def _confirmed_producer(app: Celery) -> Any:
    """Return a producer for the dispatcher's thread only; it connects at the first delivery task.

    It has a separate connection because publisher confirms apply to everything that a connection
    publishes: the task events of a gevent worker would wait for their confirms on a socket that the
    worker's main loop also reads.
    """
    connection = app.connection_for_write(transport_options={"confirm_publish": True})
    return app.amqp.Producer(connection, auto_declare=False)


def _priority(app: Celery, urgency: int) -> int:
    """Return Celery's number for an urgency: in Redis 0 is the most urgent, in RabbitMQ the least.

    A quorum queue of RabbitMQ 4.0 or later has two levels, above 4 and the rest; earlier versions
    have none.
    """
    redis = broker_url(app).startswith(("redis", "sentinel"))
    return 9 - urgency if redis else urgency
