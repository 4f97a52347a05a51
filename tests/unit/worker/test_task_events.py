"""Task events on demand: what the event dispatcher of a worker sends, and when."""

from __future__ import annotations

import json
import logging
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from celery import Celery

from celeriac.settings import Settings
from celeriac.worker import make_app, task_events
from celeriac.worker.event_receiver import receiver_check
from celeriac.worker.task_events import (
    CHECK_INTERVAL,
    OnDemandEventDispatcher,
    TaskEventsStep,
    check_receivers,
    sends_task_events,
)


def app_of(**conf: Any) -> Celery:
    app = make_app(Settings.load({}, service="billing", broker_url="memory://"))
    app.conf.update(conf)
    return app


def dispatcher_of(app: Celery, *groups: str, enabled: bool = True) -> Any:
    dispatcher: Any = app.events.Dispatcher(
        app.connection_for_write(), hostname="w@h", groups=groups, enabled=enabled
    )
    dispatcher.producer = MagicMock()
    return dispatcher


def sent(dispatcher: Any) -> list[str]:
    return [call.args[0]["type"] for call in dispatcher.producer.publish.call_args_list]


def started(
    dispatcher: Any,
    *,
    again: TaskEventsStep | None = None,
    hub: Any = None,
    timer: Any = None,
) -> TaskEventsStep:
    timer = timer or MagicMock()
    parent = SimpleNamespace(
        app=dispatcher.app, event_dispatcher=dispatcher, timer=timer, steps=[], hub=hub
    )
    step = again or TaskEventsStep(parent)
    step.start(parent)
    assert parent.timer.call_repeatedly.call_args.args[0] == CHECK_INTERVAL
    return step


def test_without_a_receiver_task_events_are_dropped_and_heartbeats_are_not() -> None:
    dispatcher = dispatcher_of(app_of(), "worker", "task")
    for kind in ("task-received", "worker-heartbeat"):
        dispatcher.send(kind)
    assert sent(dispatcher) == ["worker-heartbeat"]
    dispatcher.has_receivers = True
    dispatcher.send("task-received")
    assert sent(dispatcher) == ["worker-heartbeat", "task-received"]


def test_turned_on_in_the_settings_they_need_no_receiver() -> None:
    """Celery's dispatcher has no groups then, and no step looks for monitors."""
    app = app_of(worker_send_task_events=True)
    dispatcher = dispatcher_of(app)
    dispatcher.send("task-received")
    assert sent(dispatcher) == ["task-received"]
    assert sends_task_events(dispatcher)
    assert not TaskEventsStep(MagicMock(app=app), task_events=True).include_if(MagicMock())


def test_unset_they_are_on_demand_and_false_waits_for_remote_control() -> None:
    for value, groups in ((None, {"worker", "task"}), (False, {"worker"})):
        dispatcher = dispatcher_of(app_of(worker_send_task_events=value), "worker")
        started(dispatcher)
        assert dispatcher.groups == groups
    assert app_of().conf.worker_send_task_events is None


def test_a_worker_without_gossip_and_heartbeats_sends_them_too() -> None:
    dispatcher = dispatcher_of(app_of(), "worker", enabled=False)
    started(dispatcher)
    assert dispatcher.enabled


def test_a_reconnect_keeps_what_remote_control_turned_off() -> None:
    app = app_of()
    step = started(dispatcher_of(app, "worker"))
    step.stop(MagicMock())
    reconnected = dispatcher_of(app, "worker")  # `disable_events` took the group of tasks
    started(reconnected, again=step)
    assert reconnected.groups == {"worker"}
    assert not sends_task_events(reconnected)


def test_an_unreachable_broker_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = dispatcher_of(app_of(), "worker", "task")
    dispatcher.has_receivers = True
    check_receivers(dispatcher, MagicMock(side_effect=OSError("away")))
    assert sends_task_events(dispatcher)
    with caplog.at_level(logging.INFO):
        check_receivers(dispatcher, lambda: False)
        check_receivers(dispatcher, lambda: False)
    assert not sends_task_events(dispatcher)
    assert caplog.text.count("no monitor receives task events") == 1


@pytest.mark.parametrize("has_loop", [True, False])
def test_a_lost_link_restarts_the_consumer_of_an_event_loop(
    monkeypatch: pytest.MonkeyPatch, has_loop: bool
) -> None:
    """The loop would wait for an answer on each of its connections, one after the other."""
    dispatcher, timer = dispatcher_of(app_of(), "worker", "task"), MagicMock()
    answers = iter([False])

    def ask() -> bool:
        if (answer := next(answers, None)) is None:
            raise ConnectionResetError
        return answer

    monkeypatch.setattr(task_events, "receiver_check", lambda _: ask)
    monkeypatch.setattr(type(dispatcher.connection), "connection_errors", (ConnectionResetError,))
    started(dispatcher, hub=MagicMock() if has_loop else None, timer=timer)
    check = timer.call_repeatedly.call_args.args[1]
    with pytest.raises(ConnectionResetError) if has_loop else nullcontext():
        check()


@pytest.mark.parametrize(
    ("groups", "enabled", "expected"),
    [((), True, True), (("worker",), True, False), (("worker", "task"), True, True),
     (("worker", "task"), False, False)],
)  # fmt: skip
def test_a_stock_dispatcher_sends_task_events_by_its_groups(
    groups: tuple[str, ...], enabled: bool, expected: bool
) -> None:
    """That of an app which celeriac did not make. Before, its heartbeats alone seemed enough."""
    dispatcher = dispatcher_of(Celery("own", broker="memory://"), *groups, enabled=enabled)
    assert not isinstance(dispatcher, OnDemandEventDispatcher)
    assert sends_task_events(dispatcher) is expected


def test_a_worker_that_is_not_connected_sends_none() -> None:
    assert not sends_task_events(None)


def test_on_a_transport_without_a_count_they_are_sent() -> None:
    assert receiver_check(dispatcher_of(app_of()))()


def on_redis(**channel: Any) -> tuple[Any, MagicMock]:
    client = MagicMock()
    made = SimpleNamespace(client=client, keyprefix_fanout="/3.", fanout_patterns=True, **channel)
    dispatcher = MagicMock()
    dispatcher.connection.transport.driver_type = "redis"
    dispatcher.connection.default_channel = made
    dispatcher.exchange.name = "celeryev"
    return receiver_check(dispatcher), client


@pytest.mark.parametrize("receivers", [0, 2])
def test_redis_returns_how_many_received_an_empty_batch(receivers: int) -> None:
    check, client = on_redis()
    client.publish.return_value = receivers
    assert check() is bool(receivers)
    topic, message = client.publish.call_args.args
    assert topic == "/3.celeryev/task.multi"
    assert json.loads(message)["body"] == "W10="  # base64 of []


def test_receivers_of_old_releases_behind_sentinels_cannot_be_counted() -> None:
    check, client = on_redis(sentinel_fanout_compat=True)
    client.publish.return_value = 0
    assert check()
