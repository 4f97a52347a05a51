"""The settings that the whole bus shares, and what changing them does to what is stored."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from celeriac.bus_settings import BusSettings, bus_settings
from celeriac.delivery import ClaimResult, Completion, Group, Outcome
from celeriac.errors import ConfigurationError, LogFull
from celeriac.event import EmittedEvents
from celeriac.settings import BUS_WIDE, Settings
from celeriac.store.memory.bus_settings import MemorySettingsStore
from celeriac.store.memory.clock import MemoryClock
from tests.contract.conftest import MakeStore
from tests.contract.store import DOMAIN, Store
from tests.logged import messages_of


def other(store: Store, **given: Any) -> BusSettings:
    """The settings of another process of the same bus."""
    return BusSettings(Settings.load({}, **given), store.event_log.bus._store)


def test_the_first_worker_writes_its_settings_and_all_others_follow(store: Store) -> None:
    other(store, retention=50).establish()
    second = other(store, retention=1, max_dead_letters=7)
    second.establish()
    assert 50 == second.current.retention == other(store).current.retention
    assert Settings().max_dead_letters == second.current.max_dead_letters


def test_without_a_worker_each_process_has_its_own(store: Store) -> None:
    assert 50 == other(store, retention=50).current.retention
    assert Settings().retention == other(store).current.retention


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged about settings; threads of earlier tests may log something else."""
    return messages_of(caplog, bus_settings)


def test_a_worker_that_disagrees_warns_once_for_each_setting(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    other(store, retention=50).establish()
    second = other(store, retention=1, lease=7)
    for _ in range(3):
        second.establish()
    [said] = messages(caplog)
    assert "CELERIAC_RETENTION=1" in said
    assert "retention=50" in said
    assert "celeriac config set retention 1" in said


def test_what_a_worker_was_not_given_is_no_disagreement(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    other(store, retention=50).establish()
    other(store).establish()
    assert [] == messages(caplog)


def test_a_change_reaches_the_next_reader(store: Store) -> None:
    worker, operator = other(store), other(store)
    worker.establish()
    assert (Settings().retention, 60) == operator.set("retention", "60")
    worker.establish()
    assert 60 == worker.current.retention == operator.current.retention


def test_what_redis_lost_is_written_again_as_it_was(make_store: MakeStore) -> None:
    """Not as the worker that notices was started."""
    store = make_store()
    worker = other(store, retention=50)
    other(store, retention=60).establish()
    worker.establish()
    emptied = MemorySettingsStore(MemoryClock())
    worker._store = emptied
    worker.establish()
    assert "60" == emptied.read()["retention"]


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "-1", "1e99999"])
def test_a_bad_value_is_refused(store: Store, text: str) -> None:
    with pytest.raises(ConfigurationError, match="retention="):
        other(store).set("retention", text)


def test_a_setting_of_a_process_is_not_one_of_the_bus(store: Store) -> None:
    with pytest.raises(ConfigurationError, match="retention_count"):
        other(store).set("lease", "1")


def test_an_unreadable_value_is_reported_and_skipped(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    worker = other(store, retention=50)
    worker.establish()
    assert worker._store is not None
    worker._store.write({"retention": "soon", "nonsense": "1"})
    reader = other(store)
    assert Settings().retention == reader.current.retention
    assert {*BUS_WIDE} - {"retention"} == reader.record.values.keys()
    assert "celeriac config set retention" in caplog.text


def test_trimming_follows_the_bus(make_store: MakeStore) -> None:
    store = make_store(retention=1)
    other(store, retention=3600, dead_retention=3600).establish()
    store.event_log.bus.refresh()
    store.event_log.append(DOMAIN, b"{}")
    store.pass_ms(1100)
    assert (0, 0) == store.event_log.trim(DOMAIN, exact=True)
    store.event_log.bus.set("retention", "1")
    assert (1, 0) == store.event_log.trim(DOMAIN, exact=True)


def test_the_bound_of_the_log_is_the_bus_s(make_store: MakeStore) -> None:
    store = make_store(log_full="raise")
    store.event_log.join(DOMAIN, "billing.charge", "0")
    store.event_log.append(DOMAIN, b"{}")
    store.event_log.bus.set("max_backlog", "1")
    with pytest.raises(LogFull):
        store.event_log.append(DOMAIN, b"{}")
    store.event_log.bus.set("max_backlog", "0")
    store.event_log.append(DOMAIN, b"{}")


def processed(store: Store, group: Group, event_id: str) -> str:
    entry = store.emit(event_id)
    store.claim(group, store.fetch(group).deliveries)
    assert [] == store.deliveries.complete(
        "w1", group, [Completion(entry, event_id, 1, Outcome.PROCESSED)]
    )
    return entry


@pytest.mark.parametrize(("before", "after"), [(3600, 60), (60, 3600), (3600, 259200)])
def test_a_duplicate_is_known_whatever_happens_to_the_window(
    make_store: MakeStore, before: int, after: int
) -> None:
    """As long as it is younger than both."""
    store = make_store(dedup_window=before)
    group = Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    processed(store, group, "a")
    store.event_log.bus.set("dedup_window", str(after))
    store.emit("a")
    [claimed] = store.claim(group, store.fetch(group).deliveries)
    assert ClaimResult.DUPLICATE is claimed.result


@pytest.mark.parametrize(("before", "after"), [(3600, 60), (60, 3600)])
def test_a_dead_letter_is_redriven_whatever_happens_to_the_window(
    make_store: MakeStore, before: int, after: int
) -> None:
    store = make_store(dedup_window=before)
    group = Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    entry = store.emit("a")
    store.claim(group, store.fetch(group).deliveries)
    store.deliveries.complete("w1", group, [Completion(entry, "a", 1, Outcome.DEAD)])
    store.event_log.bus.set("dedup_window", str(after))
    [letter] = store.deliveries.dead(DOMAIN)
    assert 1 == store.deliveries.redrive(group, [(letter, b"{}")])
    [claimed] = store.claim(group, store.fetch(group).deliveries)
    assert ClaimResult.RUN is claimed.result


def test_a_window_that_was_made_longer_does_not_claim_to_remember_further(
    make_store: MakeStore,
) -> None:
    store = make_store(dedup_window=60)
    now = store.registry.now_ms()
    store.event_log.bus.set("dedup_window", "3600")
    assert now - 61_000 < store.deliveries.kept_since_ms()


def test_a_row_lives_for_a_window_and_is_gone_after_two(make_store: MakeStore) -> None:
    store = make_store(dedup_window=1000)
    group = Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    processed(store, group, "a")
    assert [None] != store.deliveries.rows(group, ["a"])
    store.age(2_100_000)
    assert [None] == store.deliveries.rows(group, ["a"])
    processed(store, group, "b")
    assert [None, True] == [row and True for row in store.deliveries.rows(group, ["a", "b"])]


def test_the_name_of_nothing_has_no_row(store: Store, group: Group) -> None:
    processed(store, group, "a")
    assert [None] == store.deliveries.rows(group, [""])
    assert [] == store.deliveries.failures(group, "")
    assert [EmittedEvents()] == store.deliveries.emitted_events(group, [""])


def test_settings_are_distinguished_by_what_was_given() -> None:
    assert {"retention"} == Settings.load({"CELERIAC_RETENTION": "5"}).given
    assert replace(Settings(), given=frozenset("x")) == Settings()
