"""How often maintenance trims a domain, and what it reports."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError

from celeriac import EventBus
from celeriac.dispatcher.maintenance import (
    BEAT_EVERY,
    EVICTIONS_EVERY,
    TRIM_AT_LEAST_EVERY,
    TRIM_AT_ONCE,
    TRIM_EVERY,
    Maintenance,
)
from celeriac.event_log import Trimmed
from celeriac.event_log.event_log import Eviction
from tests.unit.dispatcher.conftest import record

DAY = 86_400.0


class World:
    """A maintenance over a backend that records its calls. `trimmed` is the result of each trim."""

    def __init__(self, bus: EventBus) -> None:
        self.now, self.trimmed = 0.0, Trimmed(remaining=5)
        self.refusal: Exception | None = None
        self.trims: list[tuple[float, list[str]]] = []
        self.cleaned: list[str] = []
        self.beats = self.checks = self.established = 0
        self.bus = SimpleNamespace(
            current=SimpleNamespace(retention=7 * DAY), establish=self._establish
        )
        registry = SimpleNamespace(heartbeat=self._beat, unregistered=lambda _: [], registered=dict)
        event_log = SimpleNamespace(
            trim_many=self._trim,
            remove_idle_consumers=self.cleaned.append,
            register_domains=lambda *_, **__: None,
            evictions=self._evictions,
        )
        backend: Any = SimpleNamespace(bus=self.bus, registry=registry, event_log=event_log)
        self.duties = Maintenance(lambda: backend, lambda: record(bus), lambda: self.now)

    def _establish(self) -> None:
        self.established += 1
        if self.refusal is not None:
            raise self.refusal

    def _beat(self, worker: object) -> None:
        self.beats += 1

    def _evictions(self) -> list[Eviction]:
        self.checks += 1
        return [Eviction("redis://h", "allkeys-lru", self.checks)]

    def _trim(self, domains: Sequence[str]) -> list[Trimmed]:
        self.trims.append((self.now, list(domains)))
        return [self.trimmed for _ in domains]

    def run(self, *domains: str, newest: Mapping[str, str] | None = None) -> None:
        self.duties.run(domains or ("order",), discover=False, newest=newest)

    def trim_times(self, until: float, newest: str = "") -> list[float]:
        """Return when `order` is trimmed if maintenance runs each second until then."""
        self.trims.clear()
        while self.now < until:
            self.run(newest={"order": newest} if newest else None)
            self.now += 1
        return [at for at, _ in self.trims]


@pytest.fixture
def world(bus: EventBus, monkeypatch: pytest.MonkeyPatch) -> World:
    """Without jitter."""
    monkeypatch.setattr("celeriac.dispatcher.maintenance.random.uniform", lambda a, b: b)
    return World(bus)


def test_a_quiet_domain_is_trimmed_in_doubled_pauses_up_to_five_minutes(world: World) -> None:
    assert (10.0, 300.0) == (TRIM_EVERY, TRIM_AT_LEAST_EVERY)
    assert [0, 10, 30, 70, 150, 310, 610, 910] == world.trim_times(1000)


def test_a_short_retention_shortens_the_longest_pause(world: World) -> None:
    world.bus.current.retention = 250.0
    assert [0, 10, 30, 55, 80] == world.trim_times(100)


def test_a_domain_that_got_an_entry_is_trimmed_as_often_as_a_busy_one(world: World) -> None:
    assert [0, 10, 30, 70] == world.trim_times(75, "1-0")
    assert [80, 90, 110] == world.trim_times(115, "2-0")


@pytest.mark.parametrize(
    "trimmed", [Trimmed(entries=3, remaining=5), Trimmed(dead_letters=1, remaining=5)]
)
def test_while_there_is_something_to_trim_the_pause_stays_short(
    world: World, trimmed: Trimmed
) -> None:
    world.trimmed = trimmed
    assert [0, 10, 20, 30] == world.trim_times(35)


def test_a_domain_with_more_to_trim_is_trimmed_again_at_once(world: World) -> None:
    world.trimmed = Trimmed(remaining=5, entries=100, more=True)
    assert [0, 1, 2] == world.trim_times(3)


def test_idle_domains_do_not_become_due_in_one_run(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges: list[tuple[float, float]] = []

    def least(low: float, high: float) -> float:
        ranges.append((low, high))
        return low

    monkeypatch.setattr("celeriac.dispatcher.maintenance.random.uniform", least)
    assert [0, 10, 26, 58] == world.trim_times(60)
    assert {(0.8, 1)} == set(ranges)


def test_one_run_trims_some_of_many_domains(world: World) -> None:
    names = [f"d{n}" for n in range(TRIM_AT_ONCE + 3)]
    world.run(*names)
    world.run(*names)
    assert [names[:32], names[32:]] == [domains for _, domains in world.trims]
    assert names == world.cleaned
    world.run(*names)
    assert 2 == len(world.trims), "none is due"


def test_a_domain_that_is_served_again_is_trimmed_at_once(world: World) -> None:
    world.run("a", "b")
    world.run("a")
    world.run("a", "b")
    assert [["a", "b"], ["b"]] == [domains for _, domains in world.trims]


@pytest.mark.parametrize(
    ("trimmed", "levels"),
    [
        (Trimmed(), []),
        (Trimmed(entries=2), ["DEBUG"]),
        (Trimmed(dead_letters=2), ["WARNING"]),
        (Trimmed(entries=1, dead_letters=2), ["DEBUG", "WARNING"]),
    ],
)
def test_what_was_trimmed_is_logged_and_lost_dead_letters_with_a_warning(
    world: World, caplog: pytest.LogCaptureFixture, trimmed: Trimmed, levels: list[str]
) -> None:
    caplog.set_level(logging.DEBUG, "celeriac.dispatcher.maintenance")
    world.trimmed = trimmed
    world.run()
    assert levels == [record.levelname for record in caplog.records if "order" in record.message]


# -- other duties


def test_the_heartbeat_may_be_sent_earlier_than_it_is_due(world: World) -> None:
    beats = []
    for world.now, is_soon in [(0.0, False), (1.0, False), (1.0, True), (1.0 + BEAT_EVERY, False)]:
        if is_soon:
            world.duties.beat_soon()
        world.run()
        beats.append((world.beats, world.established))
    world.duties.beat_soon()
    world.duties.beat_soon()
    assert [(1, 1), (1, 1), (2, 2), (3, 3)] == beats


def test_evictions_are_checked_each_minute(world: World) -> None:
    checks = []
    for world.now in (0.0, EVICTIONS_EVERY - 0.1, EVICTIONS_EVERY):
        world.run()
        checks.append(world.checks)
    assert [1, 1, 2] == checks


def test_a_worker_without_the_right_to_the_settings_of_the_bus_warns_once_and_beats(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.refusal = NoPermissionError("no permissions")
    for world.now in (0.0, BEAT_EVERY):
        world.run()
    assert (2, 1) == (world.beats, caplog.text.count("the settings of the bus cannot be read"))


def test_another_refusal_of_the_settings_of_the_bus_is_raised(world: World) -> None:
    world.refusal = redis.ResponseError("WRONGTYPE")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        world.run()
    assert 0 == world.beats
