"""The part of a worker that listens to the broker, when the broker fails it."""

from __future__ import annotations

from typing import Any
from unittest.mock import Mock

import pytest
from amqp.exceptions import NotFound, PreconditionFailed, ResourceLocked  # type: ignore[import-untyped]
from celery.worker import consumer

from celeriac.worker.celery_fixes.consumer import Consumer


def connected(event_dispatcher: Any) -> Consumer:
    """A consumer without a worker."""
    one: Any = Consumer.__new__(Consumer)
    one.event_dispatcher = event_dispatcher
    made: Consumer = one
    return made


def lost(monkeypatch: pytest.MonkeyPatch, event_dispatcher: Any) -> list[str]:
    """What a consumer does, in order, that lost its connection."""
    did: list[str] = []
    if event_dispatcher is not None and event_dispatcher.connection is not None:
        event_dispatcher.connection.collect.side_effect = lambda **_: did.append("events dropped")
    monkeypatch.setattr(
        consumer.Consumer,
        "on_connection_error_after_connected",
        lambda self, exc: did.append(f"Celery told: {exc}"),
    )
    connected(event_dispatcher).on_connection_error_after_connected(OSError("silent"))
    return did


def test_the_link_of_the_task_events_is_dropped_with_the_one_that_died(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Celery asks the broker to close it and waits for ever, where it died without a word too."""
    assert lost(monkeypatch, Mock()) == ["events dropped", "Celery told: silent"]


@pytest.mark.parametrize("events", [None, Mock(connection=None)])
def test_a_worker_without_task_events_has_none_to_drop(
    monkeypatch: pytest.MonkeyPatch, events: Any
) -> None:
    assert lost(monkeypatch, events) == ["Celery told: silent"]


def test_a_link_that_cannot_even_be_dropped_is_no_reason_to_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dispatcher = Mock()
    dispatcher.connection.collect.side_effect = RuntimeError("no")
    monkeypatch.setattr(consumer.Consumer, "on_connection_error_after_connected", Mock())
    connected(dispatcher).on_connection_error_after_connected(OSError("silent"))


def test_a_queue_that_is_gone_or_locked_is_tried_again_and_one_of_another_type_ends_the_worker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last stays wrong until it is deleted."""

    def make(self: Any, *_: Any, **__: Any) -> None:
        self.connection_errors = (OSError,)

    monkeypatch.setattr(consumer.Consumer, "__init__", make)
    errors = Consumer().connection_errors
    for passing in (NotFound, ResourceLocked, ConnectionResetError):
        assert issubclass(passing, errors)
    assert not issubclass(PreconditionFailed, errors)
