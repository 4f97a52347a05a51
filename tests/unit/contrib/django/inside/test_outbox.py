"""emit within `transaction.atomic`: it joins the transaction and is published after its commit."""

from __future__ import annotations

import threading

import pytest
from django.core.management import call_command
from django.db import connections, transaction
from django.test.utils import override_settings

from celeriac import ConfigurationError, EventBus, Settings, emit, set_default_bus
from celeriac.contrib.django.models import OutboxRow
from celeriac.outbox import status as state
from celeriac.outbox.database import open_database
from celeriac.outbox.relay import Relay
from celeriac.testing import capture
from tests.unit.outbox.conftest import published


def relay_of(bus: EventBus, alias: str = "default") -> Relay:
    return Relay(open_database(f"django:{alias}"), bus.settings, bus.service.backend.event_log)


def test_within_atomic_it_is_published_once_committed(live: EventBus) -> None:
    with transaction.atomic():
        live.emit("order.placed", id="a")
        live.emit_many([live.event("order.placed", id=id) for id in "bc"])
        live.emit("order.placed", id="later", delay=60)
    assert published(live) == []
    assert relay_of(live).drain() == 4
    assert published(live) == ["a", "b", "c"]
    assert OutboxRow.objects.count() == 0
    assert live.service.backend.event_log.delayed("order") == 1


def test_what_is_rolled_back_never_was(live: EventBus) -> None:
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        live.emit("order.placed", id="a")
        raise ZeroDivisionError
    with transaction.atomic():
        live.emit("order.placed", id="b")
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            live.emit("order.placed", id="c")
            raise ZeroDivisionError
    relay_of(live).drain()
    assert published(live) == ["b"]


def test_outside_of_atomic_it_goes_to_redis_at_once(live: EventBus) -> None:
    live.emit("order.placed", id="a")
    live.emit("order.placed", id="b", using="other")
    assert published(live) == ["a", "b"]
    assert OutboxRow.objects.count() == 0


def test_using_names_another_database(live: EventBus) -> None:
    with transaction.atomic(using="other"):
        live.emit("order.placed", id="direct")
        live.emit("order.placed", id="other", using="other")
    assert published(live) == ["direct"]
    assert (relay_of(live).drain(), relay_of(live, "other").drain()) == (0, 1)
    assert published(live) == ["direct", "other"]


def test_the_emit_of_the_module_does_it_too(live: EventBus) -> None:
    set_default_bus(live)
    try:
        with transaction.atomic():
            emit("order.placed", id="a")
        assert published(live) == []
    finally:
        set_default_bus(None)
    assert OutboxRow.objects.get().event_id == "a"


def test_a_transaction_of_another_thread_is_not_joined(live: EventBus) -> None:
    with transaction.atomic():
        thread = threading.Thread(target=live.emit, args=("order.placed",), kwargs={"id": "a"})
        thread.start()
        thread.join(20)
    assert published(live) == ["a"]


def test_captured_events_are_captured_at_once(live: EventBus) -> None:
    """Django's TestCase wraps each test in a transaction that is never committed."""
    with capture() as events, transaction.atomic():
        live.emit("order.placed", id="a")
    events.assert_emitted("order.placed", id="a")
    assert OutboxRow.objects.count() == 0


def test_one_of_two_relays_is_the_leader(live: EventBus) -> None:
    with transaction.atomic():
        live.emit("order.placed", id="a")
    turns: list[bool] = []

    def other() -> None:
        try:
            turns.append(relay_of(live).run_pass().active)
        finally:
            connections.close_all()

    with open_database("django:default").as_leader() as execute:
        assert execute is not None
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(20)
    assert turns == [False]
    assert relay_of(live).drain() == 1


def test_a_relay_outlives_its_connection(live: EventBus) -> None:
    relay = relay_of(live)
    assert relay.drain() == 0
    if connections["default"].vendor == "postgresql":
        connections["default"].connection.close()
        with pytest.raises(Exception, match="clos"):
            relay.run_pass()
    with transaction.atomic():
        live.emit("order.placed", id="a")
    assert relay.drain() == 1


def test_the_commands_know_the_databases_of_django(live: EventBus) -> None:
    with transaction.atomic():
        live.emit("order.placed", id="a")
    found = state.status(open_database("django:default"))
    assert (found.database, found.waiting, found.failed) == ("django:default", 1, 0)


def test_a_missing_table_names_the_migration(live: EventBus) -> None:
    call_command("migrate", "celeriac", "zero", verbosity=0)
    with pytest.raises(ConfigurationError, match="migrate celeriac"), transaction.atomic():
        live.emit("order.placed")
    with pytest.raises(ConfigurationError, match="migrate celeriac"):
        relay_of(live).run_pass()


def test_the_migration_is_what_the_models_are() -> None:
    call_command("makemigrations", "celeriac", check=True, dry_run=True, verbosity=0)


def test_settings_of_django_are_settings_of_the_bus(monkeypatch: pytest.MonkeyPatch) -> None:
    with override_settings(CELERIAC={"LEASE": 7, "service": "mail"}, CELERIAC_EMIT_TIMEOUT=2):
        found = Settings.load()
        assert (found.lease, found.service, found.emit_timeout) == (7.0, "mail", 2.0)
        assert found.outbox_url == "django:default"
        monkeypatch.setenv("CELERIAC_LEASE", "9")
        assert Settings.load().lease == 9
        assert Settings.load(lease=11).lease == 11
    with (
        override_settings(CELERIAC={"LEESE": 7}),
        pytest.raises(ConfigurationError, match="leese: no such setting"),
    ):
        Settings.load()
