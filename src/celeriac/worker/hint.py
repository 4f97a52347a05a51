"""Sending hints: a chunk becomes one Celery task on the queue of its handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from amqp.exceptions import AMQPError, MessageNacked  # type: ignore[import-untyped]
from celery import Celery
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from celeriac.connection import address
from celeriac.dispatcher import Chunk
from celeriac.dispatcher.traced import traced
from celeriac.errors import BusUnavailable
from celeriac.subscription import Service
from celeriac.worker.app import BROKEN_AFTER, is_rabbitmq
from celeriac.worker.hinted import write_pairs
from celeriac.worker.local import LocalWay

# The broker is away, refuses, or does not confirm in time.
FAILURES = (OperationalError, OSError, AMQPError, MessageNacked, RedisError)
# py-amqp does not reconnect by itself, and a hint sent twice does no harm: once more on a new
# connection. A link that died without a word is found out by the confirmation that is not there.
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


def hint_sender(
    app: Celery, service: Service, *, watched: Callable[[], bool], local: LocalWay | None = None
) -> Callable[[Chunk], None]:
    """A function that sends one chunk's hint; it raises BusUnavailable if the broker is away.

    `watched` tells whether monitors are listening, so that executors send them what happens
    within a chunk. `local` is the way to the worker's own pool, where it has one.
    """

    # Without a priority all hints of a queue share one list, whose length tools can read.
    uses_priorities = any(handler.priority for handler in service.handlers.values())
    confirmed = is_rabbitmq(app.conf.broker_write_url or app.conf.broker_url)
    publishing: dict[str, Any] = {"retry": False}
    if confirmed:
        publishing = {**CONFIRMED, "producer": _confirmed_producer(app)}

    def send(chunk: Chunk) -> None:
        first = chunk.items[0].event
        single = len(chunk.items) == 1
        kwargs: dict[str, Any] = {
            "domain": chunk.lane.domain,
            "events": write_pairs(chunk.hinted),
        }
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
        if local is not None and local.offer(app, task, queue, options, busy=chunk.stays):
            return
        priority = _priority(app, chunk.handler.priority) if uses_priorities else None
        try:
            task.apply_async(**options, queue=queue, priority=priority, **publishing)
        except FAILURES as error:
            raise BusUnavailable(
                f"the broker at {address(app.conf.broker_write_url or app.conf.broker_url)} does "
                f"not take hints ({error}); CELERIAC_BROKER_URL names it"
            ) from error

    return traced(send, service.settings)


def _confirmed_producer(app: Celery) -> Any:
    """For the dispatcher's thread alone; connects at the first hint.

    On a connection of its own, because confirmation holds for all that a connection publishes: the
    task events of a gevent worker wait for theirs on a socket that its main loop reads as well.
    """
    connection = app.connection_for_write(transport_options={"confirm_publish": True})
    return app.amqp.Producer(connection, auto_declare=False)


def _priority(app: Celery, urgency: int) -> int:
    """Celery's number for it: in Redis 0 is the most urgent, in RabbitMQ the least.

    A quorum queue knows two levels, above 4 and not, from RabbitMQ 4.0 on; before, none."""
    redis = str(app.conf.broker_url).startswith(("redis", "sentinel"))
    return 9 - urgency if redis else urgency
