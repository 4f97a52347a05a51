from __future__ import annotations

from typing import Any

import pytest
import redis
from celery.worker import consumer

from celeriac.settings import Settings
from celeriac.worker import make_app
from celeriac.worker.celery_fixes.consumer import UNUSED, Consumer


def transport_options(**given: Any) -> dict[str, Any]:
    app = make_app(Settings.load({}, service="billing", **given))
    options: dict[str, Any] = app.conf.broker_transport_options
    return options


def test_queues_are_named_as_the_service_alone() -> None:
    """So that an operator, or KEDA, finds the list `billing`."""
    assert "global_keyprefix" not in transport_options()


def test_the_queues_of_another_namespace_are_others() -> None:
    """Else the delivery tasks of two buses on one Redis would mix, and wait for their leases."""
    assert transport_options(namespace="staging")["global_keyprefix"] == "staging:"


def test_a_broker_that_is_away_for_long_does_not_end_the_worker() -> None:
    assert make_app(Settings.load({}, service="billing")).conf.broker_connection_max_retries is None


@pytest.mark.parametrize("scheme", ["amqp", "amqps", "pyamqp"])
def test_on_rabbitmq_tasks_are_in_quorum_queues(scheme: str) -> None:
    app = make_app(
        Settings.load({}, service="billing", namespace="staging", broker_url=f"{scheme}://h")
    )
    for queue in ("billing", "urgent"):
        assert app.amqp.queues[queue].queue_arguments == {"x-queue-type": "quorum"}


def test_on_rabbitmq_a_caller_that_awaits_a_reply_closes_a_silent_connection() -> None:
    """An idle broker sends a heartbeat every half of the interval."""
    conf = make_app(Settings.load({}, service="billing", broker_url="amqp://h")).conf
    options = conf.broker_transport_options
    assert options.keys() == {"read_timeout", "write_timeout"}
    assert conf.broker_heartbeat / 2 < options["read_timeout"] <= 2 * conf.broker_heartbeat


def test_on_redis_queues_are_lists_without_arguments() -> None:
    app = make_app(Settings.load({}, service="billing"))
    assert not app.amqp.queues["urgent"].queue_arguments


def test_no_queues_for_delays_are_declared() -> None:
    """Stock Celery declares 28 of them with quorum queues; events are delayed in Redis."""
    assert UNUSED in consumer.Consumer.Blueprint.default_steps
    assert UNUSED not in Consumer.Blueprint.default_steps
    assert (
        len(Consumer.Blueprint.default_steps) == len(consumer.Consumer.Blueprint.default_steps) - 1
    )


def test_celery_tries_a_sentinel_once() -> None:
    """Four times, with pauses, is what redis-py 6 and later do otherwise."""
    options = transport_options(redis_url="redis+sentinel://a:26379,b:26379/mymaster/0")
    tries: list[int] = []

    def ask() -> None:
        tries.append(1)
        raise redis.ConnectionError

    with pytest.raises(redis.ConnectionError):
        options["sentinel_kwargs"]["retry"].call_with_retry(ask, lambda error: None)
    assert 1 == len(tries)
