"""The Celery app of a service that has none of its own."""

from __future__ import annotations

from typing import Any, cast

from celery import Celery, Task
from redis.backoff import NoBackoff
from redis.retry import Retry

from celeriac.errors import ConfigurationError
from celeriac.redis_url import SentinelURL, is_sentinel
from celeriac.settings import Settings
from celeriac.worker.celery_fixes.quorum_queues import use_quorum_queues

HEARTBEAT = 6  # seconds; below 5 RabbitMQ's guide warns of false alarms. It waits for three
SENTINEL_WITHIN = 1  # seconds that a Sentinel may take to answer
BROKEN_AFTER = 5  # seconds without an answer; the longest one asked for takes 1 s (BRPOP)


class GuardedTask(Task):  # type: ignore[misc]
    """A task, also one of Celery's own, that a malformed message cannot end the worker with."""

    Request = "celeriac.worker.request:GuardedRequest"
    Strategy = "celeriac.worker.request:guarded_strategy"


def make_app(settings: Settings) -> Celery:
    """An app set up for hints: small, frequent, and worth nothing once they are started.

    Raises ConfigurationError where there is no broker to send them by.
    """
    if not settings.broker_url:
        raise ConfigurationError(
            "CELERIAC_BROKER_URL is not set, and CELERIAC_REDIS_URL names a Redis Cluster, which "
            "holds the log but cannot be Celery's broker. Set CELERIAC_BROKER_URL, e.g. "
            "redis://127.0.0.1:6379/0 (a server of its own) or amqp://…"
        )
    sentinel = _sentinel_of(settings)
    broker_url = sentinel.broker_url() if sentinel else settings.broker_url
    app = Celery(
        settings.service,
        broker=broker_url,
        task_cls=GuardedTask,
        events="celeriac.worker.task_events:OnDemandEvents",
    )
    cast("Any", app.steps)["consumer"].add("celeriac.worker.task_events:TaskEventsStep")
    app.conf.update(
        task_default_queue=settings.service,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        broker_connection_retry_on_startup=True,
        # A broker that is away for a night must not end the worker; Celery's default is 100 tries.
        broker_connection_max_retries=None,
        worker_prefetch_multiplier=1,
        worker_send_task_events=None,  # on demand, see task_events.py
        worker_consumer="celeriac.worker.celery_fixes.consumer:Consumer",
        worker_cancel_long_running_tasks_on_connection_loss=False,
        enable_utc=True,
    )
    if is_rabbitmq(settings.broker_url):
        app.conf.update(_for_rabbitmq())
        use_quorum_queues(app)
    elif settings.broker_url.startswith("redis"):
        app.conf.broker_transport_options = _transport_options(settings)
    if sentinel:
        _use_sentinel(app, sentinel)
    return app


def _sentinel_of(settings: Settings) -> SentinelURL | None:
    """kombu spells such a URL in its own way."""
    if not is_sentinel(settings.broker_url):
        return None
    try:
        return SentinelURL.parse(settings.broker_url)
    except ValueError as error:
        raise ConfigurationError(f"CELERIAC_BROKER_URL {error}") from None


def _use_sentinel(app: Celery, sentinel: SentinelURL) -> None:
    app.conf.broker_transport_options |= {
        "master_name": sentinel.master,
        "sentinel_kwargs": {
            "socket_timeout": SENTINEL_WITHIN,
            "socket_connect_timeout": SENTINEL_WITHIN,
            # Each of a worker's connections asks the Sentinels in their order. redis-py 6 and later
            # try one that is down four times, in up to seven seconds, before they ask the next.
            "retry": Retry(NoBackoff(), 0),
            **sentinel.sentinel_options,
        },
    }
    if sentinel.tls:
        tls = {k: v for k, v in sentinel.options.items() if k.startswith("ssl_")}
        app.conf.broker_use_ssl = tls or True


def is_rabbitmq(url: str) -> bool:
    """Whether kombu speaks AMQP to it."""
    return str(url).startswith(("amqp", "pyamqp"))


def _for_rabbitmq() -> dict[str, Any]:
    """Hints in quorum queues, on several nodes where there are several (docs/adr/0016)."""
    return {
        "task_default_queue_type": "quorum",
        "task_create_missing_queue_type": "quorum",
        # A broker that says nothing for two of these is given up. It gives up the worker after
        # three, and until then keeps the queue for remote control locked for the dead connection.
        "broker_heartbeat": HEARTBEAT,
        # While it is asked for something nobody counts heartbeats. It sends one every half.
        "broker_transport_options": {"read_timeout": HEARTBEAT, "write_timeout": HEARTBEAT},
    }


def _transport_options(settings: Settings) -> dict[str, Any]:
    # The ledger, not the broker, decides what runs again: measured three times faster without the
    # broker's emulation of acknowledgements (docs/adr/0003).
    options: dict[str, Any] = {
        "ack_emulation": False,
        # A link that dies without a word would hold the dispatcher's next hint for ever.
        "socket_timeout": BROKEN_AFTER,
        "socket_connect_timeout": BROKEN_AFTER,
        "socket_keepalive": True,
        "health_check_interval": BROKEN_AFTER,
    }
    if settings.namespace != Settings().namespace:
        # Two buses on one Redis have queues of the same names: hints must not cross over.
        options["global_keyprefix"] = f"{settings.namespace}:"
    return options
