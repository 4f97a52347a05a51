"""The Celery app of a service that does not bring its own."""

from __future__ import annotations

from typing import Any, cast

from celery import Celery, Task
from redis.backoff import NoBackoff
from redis.retry import Retry

from celeriac.errors import ConfigurationError
from celeriac.redis_url import SentinelURL, is_sentinel
from celeriac.settings import Settings
from celeriac.worker.celery_fixes.quorum_queues import use_quorum_queues

HEARTBEAT = 6  # seconds. Below 5, RabbitMQ's guide warns of false positives
SENTINEL_WITHIN = 1  # seconds that a Sentinel may take to answer
BROKEN_AFTER = 5  # seconds without a reply; the longest regular command takes 1 s (BRPOP)


class GuardedTask(Task):  # type: ignore[misc]
    """A task, including Celery's own, for which a malformed message does not end the worker."""

    Request = "celeriac.worker.request:GuardedRequest"
    Strategy = "celeriac.worker.request:guarded_strategy"


def make_app(settings: Settings) -> Celery:
    """Return an app configured for delivery tasks: small, frequent, and disposable once started.

    Raises ConfigurationError if no broker is configured.
    """
    if not settings.broker_url:
        raise ConfigurationError(
            "CELERIAC_BROKER_URL is not set, and CELERIAC_REDIS_URL names a Redis Cluster, which "
            "holds the event log but cannot be Celery's broker. Set CELERIAC_BROKER_URL, e.g. "
            "redis://127.0.0.1:6379/0 (a separate server) or amqp://…"
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
        # A broker that is down for a night must not end the worker; Celery's default is 100 tries.
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
    """Parse a Sentinel URL, which kombu would expect in a syntax of its own."""
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
            # Each connection of a worker queries the Sentinels in order. redis-py 6 and later try
            # an unreachable one four times, for up to seven seconds, before they try the next.
            "retry": Retry(NoBackoff(), 0),
            **sentinel.sentinel_options,
        },
    }
    if sentinel.tls:
        tls = {k: v for k, v in sentinel.options.items() if k.startswith("ssl_")}
        app.conf.broker_use_ssl = tls or True


def is_rabbitmq(url: str) -> bool:
    """Return whether kombu uses AMQP for this URL."""
    return str(url).startswith(("amqp", "pyamqp"))


def _for_rabbitmq() -> dict[str, Any]:
    """Return settings for delivery tasks in quorum queues, replicated where possible (ADR 16)."""
    return {
        "task_default_queue_type": "quorum",
        "task_create_missing_queue_type": "quorum",
        # The worker closes a connection after two silent intervals, the broker after three. Until
        # then the broker keeps the remote control queue locked for the dead connection.
        "broker_heartbeat": HEARTBEAT,
        # A blocked read or write does not count heartbeats. The broker sends two per interval.
        "broker_transport_options": {"read_timeout": HEARTBEAT, "write_timeout": HEARTBEAT},
    }


def _transport_options(settings: Settings) -> dict[str, Any]:
    # The delivery store, not the broker, decides what runs again. Without the broker's emulation of
    # acknowledgements a delivery task is three times faster (docs/adr/0003).
    options: dict[str, Any] = {
        "ack_emulation": False,
        # Without a timeout, a silently dead connection would block the dispatcher's next task.
        "socket_timeout": BROKEN_AFTER,
        "socket_connect_timeout": BROKEN_AFTER,
        "socket_keepalive": True,
        "health_check_interval": BROKEN_AFTER,
    }
    if settings.namespace != Settings().namespace:
        # Two buses on one Redis have queues of the same names: their tasks must not mix.
        options["global_keyprefix"] = f"{settings.namespace}:"
    return options
