"""Registering pull handlers: idempotent, checked, and visible to readers of the registry."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from celeriac import ConfigurationError, Event
from celeriac.delivery import DeliveryState, Group
from celeriac.dispatcher.groups import join
from celeriac.event_log import entry_time_ms
from celeriac.pull import pull_handlers
from celeriac.pull.refusal import (
    HandlerRemoved,
    Invalid,
    LimitReached,
    NotPulled,
    UnknownHandler,
)
from celeriac.pull.registration import read_registration
from tests.unit.pull.conftest import HOUR, INDEX, PullBus, ids_of


def record(pull: PullBus, id: str = INDEX) -> Any:
    return pull.backend.registry.handlers()[id]


def test_a_registered_handler_has_a_record_and_a_group(pull: PullBus) -> None:
    pull.register(INDEX, "order.*", "payment.captured", retries=2, description="Indexes orders.")
    stored = record(pull)
    assert (stored.service, stored.patterns, stored.doc) == (
        "search", ("order.*", "payment.captured"), "Indexes orders."
    )  # fmt: skip
    assert stored.options == {"retries": "2", "pull": "lease 30s"}
    assert set(stored.since) == {"order", "payment"}
    assert [g.handler for g in pull.backend.event_log.groups("order")] == [INDEX]


def test_registering_again_changes_nothing(pull: PullBus) -> None:
    pull.register(retries=2)
    before = record(pull)
    pull.emit()
    [delivery] = pull.fetch()
    pull.register(retries=2)
    assert record(pull) == before
    assert pull.complete(delivery).state is DeliveryState.PROCESSED


def test_a_service_has_a_limited_number_of_handlers(
    pull: PullBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull_handlers, "MAX_HANDLERS", 2)
    for id in ("search.a", "search.b", "other.a"):
        pull.register(id)
    with pytest.raises(LimitReached, match="search has 2 pull handlers"):
        pull.register("search.c")
    pull.register("search.b", retries=2)
    pull.handlers.unregister("search.a")
    pull.register("search.c")
    assert {"search.b", "search.c", "other.a"} == pull.backend.registry.handlers().keys()


def test_no_domains_are_added_beyond_those_of_the_bus(pull: PullBus) -> None:
    pull.emit("order.placed")
    pull.backend.event_log.bus.establish()
    pull.backend.event_log.bus.set("max_domains", "1")
    with pytest.raises(LimitReached, match="max_domains") as refused:
        pull.register(INDEX, "order.placed", "payment.captured")
    assert "patterns" == refused.value.field
    assert {"order"} == pull.backend.event_log.domains()
    assert INDEX not in pull.backend.registry.handlers()
    pull.register(INDEX, "order.placed")


def test_options_apply_to_all_gateways_at_once(pull: PullBus) -> None:
    pull.register(retries=5)
    other = pull.gateway()
    for _ in range(2):
        pull.emit()
    [first] = other.fetch(INDEX, 1).deliveries
    pull.register(retries=0)
    assert pull.complete(first, "failed", handlers=other).state is DeliveryState.DEAD


def test_a_restarted_gateway_needs_no_registration(pull: PullBus) -> None:
    pull.register(lease=7)
    id = pull.emit()
    [delivery] = pull.gateway().fetch(INDEX, 10).deliveries
    assert ids_of([delivery]) == [id]
    assert delivery.deadline_ms <= pull.backend.registry.now_ms() + 7000


def test_an_added_pattern_gets_later_events(pull: PullBus) -> None:
    pull.register(INDEX, "order.paid")
    pull.emit("order.placed")
    pull.fetch()
    pull.register(INDEX, "order.paid", "order.placed", "payment.*")
    later = {pull.emit("order.placed"), pull.emit("payment.captured")}
    assert set(ids_of(pull.fetch())) == later


def test_events_of_a_dropped_pattern_are_recorded_as_skipped(pull: PullBus) -> None:
    pull.register(INDEX, "order.placed", "order.paid")
    dropped = pull.emit("order.placed")
    kept = pull.emit("order.paid")
    pull.register(INDEX, "order.paid")
    assert record(pull).patterns == ("order.paid",)
    assert list(record(pull).retired) == ["order.placed"]
    assert ids_of(pull.gateway().fetch(INDEX, 10).deliveries) == [kept]  # type: ignore[arg-type]
    [row] = pull.backend.deliveries.rows(pull.group(), [pull.key(dropped)])
    assert row is not None
    assert row.state is DeliveryState.SKIPPED


def test_a_handler_of_workers_cannot_be_taken_over(pull: PullBus) -> None:
    bus = pull.bus("billing")

    @bus.on("order.*")
    def charge(event: Event) -> None: ...

    join(pull.backend, bus.service.handlers.values(), ())
    with pytest.raises(NotPulled):
        pull.register("billing.charge")
    with pytest.raises(NotPulled):
        pull.fetch("billing.charge")
    with pytest.raises(NotPulled):
        pull.handlers.unregister("billing.charge")
    assert record(pull, "billing.charge").pull is None


def test_an_unknown_handler_is_named(pull: PullBus) -> None:
    with pytest.raises(UnknownHandler, match=r"search\.index is not registered"):
        pull.fetch()
    assert pull.handlers.unregister(INDEX) is False


def test_unregistering_removes_the_handler_and_keeps_its_dead_letters(pull: PullBus) -> None:
    pull.register()
    for _ in range(2):
        pull.emit()
    pull.complete(pull.fetch(limit=1)[0], "dead")
    assert pull.handlers.unregister(INDEX) is True
    assert pull.handlers.unregister(INDEX) is False
    assert INDEX not in pull.backend.registry.handlers()
    assert pull.backend.event_log.groups("order") == []
    assert pull.backend.deliveries.dead_count("order") == 1
    with pytest.raises(HandlerRemoved):
        pull.fetch()
    with pytest.raises(HandlerRemoved):
        pull.gateway().fetch(INDEX, 1)
    pull.register()
    later = pull.emit()
    assert ids_of(pull.fetch()) == [later]


def test_an_operator_can_remove_it_while_clients_wait(pull: PullBus) -> None:
    pull.register(INDEX, "#")
    pull.emit()
    assert len(pull.fetch()) == 1
    pull.backend.registry.unregister(INDEX)
    pull.backend.event_log.leave("order", INDEX)
    pull.backend.deliveries.forget(Group("order", INDEX))
    pull.pass_time(1)
    with pytest.raises(HandlerRemoved):
        pull.fetch()
    assert pull.backend.event_log.groups("order") == []


def test_a_group_that_redis_lost_is_joined_again(pull: PullBus) -> None:
    pull.register()
    pull.emit()
    pull.backend.event_log.leave("order", INDEX)
    pull.fetch()
    id = pull.emit()
    assert id in ids_of(pull.fetch())


def test_a_lost_record_is_restored_with_the_options(pull: PullBus) -> None:
    pull.register(lease=7)
    pull.fetch()
    before = record(pull)
    [context] = pull.handlers.contexts
    context.run_maintenance()
    pull.lose_record(INDEX)
    pull.pass_time(6)
    context.run_maintenance()
    assert record(pull) == before


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "patterns"),
        ({"patterns": []}, "patterns"),
        ({"patterns": "order.*"}, "patterns"),
        ({"patterns": [1]}, "patterns"),
        ({"patterns": ["order.*"] * 101}, "patterns"),
        ({"patterns": ["order.*"], "max_attempt": 3}, "max_attempt"),
        ({"patterns": ["order.*"], "retries": "3"}, "retries"),
        ({"patterns": ["order.*"], "lease": 0.5}, "lease"),
        ({"patterns": ["order.*"], "lease": 1e9}, "lease"),
        ({"patterns": ["order.*"], "tenants": ["a"] * 101}, "tenants"),
        ({"patterns": ["order.*"], "weights": dict.fromkeys(map(str, range(101)), 2)}, "weights"),
        ({"patterns": ["order.*"], "breaker": {"failures": "x"}}, "breaker"),
        ({"patterns": ["order.*"], "debounce": {"quiet": 1}}, "debounce"),
        ({"patterns": ["order.*"], "breaker": {"failure": 3}}, "breaker"),
        ({"patterns": ["order.*"], "debounce": {"quiet": 1, "max_wait": 2, "max": 3}}, "debounce"),
        ({"patterns": ["order.*"], "description": "a\nb"}, "description"),
    ],
)
def test_a_wrong_body_names_its_member(body: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as error:
        read_registration(body)
    assert error.value.field == field
    assert field in str(error.value)


@pytest.mark.parametrize(
    "options",
    [
        {"retries": -1},
        {"start": "tomorrow"},
        {"start": "2026-01-01T00:00:00"},
        {"rate_limit": "fast"},
        {"concurrency": 0},
        {"concurrency": 1, "concurrency_per_key": 1},
        {"rate_limit": "1/s", "rate_limit_per_key": "1/s"},
        {"key": "data.tenant"},
        {"key": "no key!", "ordered": True},
        {"breaker": {"failures": 0}},
        {"debounce": {"quiet": 5, "max_wait": 1}},
        # Finite, but no store could calculate with them.
        {"backoff": 1e308, "max_backoff": 1e308},
        {"debounce": {"quiet": 1, "max_wait": 1e17}},
        {"breaker": {"window": 1e17}},
        {"concurrency_per_key": 10**20},
        {"rate_limit": "0.000000000000001/h"},
        {"share": 2},
        {"weights": {"a": 1}},
    ],
)
def test_a_wrong_option_is_refused_as_by_bus_on(pull: PullBus, options: dict[str, Any]) -> None:
    with pytest.raises(Invalid) as error:
        pull.register(**options)
    assert "@bus.on" not in str(error.value)
    assert INDEX not in pull.backend.registry.handlers()


@pytest.mark.parametrize("pattern", ["", "order..paid", "order.{}", "order.*\n", "a" * 1000])
def test_a_wrong_pattern_is_refused(pull: PullBus, pattern: str) -> None:
    with pytest.raises(Invalid):
        pull.register(INDEX, pattern)
    assert pull.backend.event_log.domains() == frozenset()


@pytest.mark.parametrize(
    "id",
    ["", "search", "search.", ".index", "search.a.b", "search.1a", "a b.c", "söarch.x", "a" * 300,
     "search.index\n", "search:x.index", "se{ar}ch.index", "search.*"],
)  # fmt: skip
def test_a_wrong_id_is_refused(pull: PullBus, id: str) -> None:
    for call in (
        lambda: pull.register(id),
        lambda: pull.fetch(id),
        lambda: pull.handlers.unregister(id),
    ):
        with pytest.raises(Invalid):
            call()
    assert pull.backend.registry.handlers() == {}


def test_start_can_be_a_time(pull: PullBus) -> None:
    early = pull.emit()
    [entry] = pull.backend.event_log.read("order")
    start = datetime.fromtimestamp(entry_time_ms(entry.id) / 1000, UTC)
    pull.register(start=start.isoformat())
    assert ids_of(pull.fetch()) == [early]
    pull.pass_time(HOUR)


def test_a_gateway_that_requires_signatures_requires_them_of_each_handler(pull: PullBus) -> None:
    with pytest.raises(ConfigurationError):
        pull.gateway(require_signature=True).register(INDEX, {"patterns": ["order.*"]})
