"""Domains: how many there may be, when one is removed, and that no event goes with it."""

from __future__ import annotations

import pytest

from celeriac.delivery import Completion, Group, Outcome
from celeriac.errors import LogFull
from celeriac.event import build_event, encode
from celeriac.event_log import EntryKind
from tests.contract.conftest import MakeStore
from tests.contract.store import DOMAIN, HOUR_MS, Store


def test_a_domain_beyond_the_bound_is_refused_by_name(make_store: MakeStore) -> None:
    store = make_store(max_domains=2)
    store.event_log.register_domains(["a", "b"])
    with pytest.raises(LogFull, match=r"max_domains.*'c' was refused.*celeriac config set"):
        store.event_log.register_domains(["a", "c"])
    store.event_log.register_domains(["a", "b"])
    assert {"a", "b"} == store.event_log.domains()


def test_a_handler_is_not_refused_its_domain(make_store: MakeStore) -> None:
    store = make_store(max_domains=1)
    store.event_log.register_domains(["a"])
    assert store.event_log.join("b", "billing.charge", "0")
    assert {"a", "b"} == store.event_log.domains()


def emptied(store: Store, group: Group) -> None:
    """A domain whose only event is finished and trimmed."""
    entry = store.emit("a")
    store.claim(group, store.fetch(group).deliveries)
    store.deliveries.complete("w1", group, [Completion(entry, "a", 1, Outcome.PROCESSED)])
    store.pass_ms(1100)
    assert (1, 0) == store.event_log.trim(DOMAIN, exact=True)


def test_a_domain_that_holds_nothing_is_removed(make_store: MakeStore) -> None:
    store, group = make_store(retention=1), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    emptied(store, group)
    assert not store.event_log.forget_domain(DOMAIN, HOUR_MS)  # it was emitted to lately
    assert store.event_log.forget_domain(DOMAIN, 1000)
    assert frozenset() == store.event_log.domains()
    assert {DOMAIN} == store.event_log.forgotten()
    assert [] == store.event_log.groups(DOMAIN)
    assert store.fetch(group).removed


def test_what_is_emitted_after_a_domain_was_removed_is_there_for_its_handlers(
    make_store: MakeStore,
) -> None:
    store, group = make_store(retention=1), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    emptied(store, group)
    assert store.event_log.forget_domain(DOMAIN, 1000)
    store.emit("b")  # by a producer that had announced the domain before
    assert {DOMAIN} == store.event_log.discover()
    assert frozenset() == store.event_log.forgotten()
    store.event_log.join(DOMAIN, group.handler, "0-0")
    assert 1 == len(store.fetch(group).deliveries)


def test_a_removed_domain_keeps_what_ids_it_had(make_store: MakeStore) -> None:
    store, group = make_store(retention=1, dedup_window=3600), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    emptied(store, group)
    assert store.event_log.forget_domain(DOMAIN, 1000)
    store.event_log.join(DOMAIN, group.handler, "0-0")
    store.emit("a")
    [claimed] = store.claim(group, store.fetch(group).deliveries)
    assert "duplicate" == claimed.result


def test_a_domain_with_an_event_is_not_removed(store: Store) -> None:
    store.event_log.register_domains([DOMAIN])
    store.emit("a")
    store.pass_ms(5)
    assert not store.event_log.forget_domain(DOMAIN, 1)
    assert {DOMAIN} == store.event_log.domains()
    assert frozenset() == store.event_log.forgotten()


def test_a_domain_with_a_delayed_event_is_not_removed(store: Store) -> None:
    store.event_log.register_domains([DOMAIN])
    store.event_log.append_delayed(DOMAIN, b"{}", delay_ms=HOUR_MS, at_ms=None)
    assert not store.event_log.forget_domain(DOMAIN, 0)


def test_a_domain_with_a_dead_letter_is_not_removed(make_store: MakeStore) -> None:
    store, group = make_store(retention=1), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    entry = store.emit("a")
    store.claim(group, store.fetch(group).deliveries)
    store.deliveries.complete("w1", group, [Completion(entry, "a", 1, Outcome.DEAD)])
    store.pass_ms(1100)
    store.event_log.trim(DOMAIN, exact=True)
    assert not store.event_log.forget_domain(DOMAIN, 1)


def test_a_domain_with_a_recent_action_of_an_operator_is_not_removed(
    make_store: MakeStore,
) -> None:
    store = make_store(retention=1, dead_retention=HOUR_MS / 1000)
    store.event_log.join(DOMAIN, "billing.charge", "0")
    store.deliveries.record(DOMAIN, b"{}")
    store.pass_ms(5)
    assert not store.event_log.forget_domain(DOMAIN, 1)
    store.event_log.bus.set("dead_retention", "1")
    store.pass_ms(1100)
    assert store.event_log.forget_domain(DOMAIN, 1)
    assert [] == store.deliveries.audit_log(DOMAIN)


def test_a_removed_domain_keeps_the_ids_that_were_appended_once(make_store: MakeStore) -> None:
    store = make_store(retention=1, dedup_window=3600)
    event = encode(build_event(f"{DOMAIN}.placed", None, id="a", source="shop"))
    first = store.event_log.append(DOMAIN, event, EntryKind.GIVEN)
    store.pass_ms(1100)
    assert (1, 0) == store.event_log.trim(DOMAIN, exact=True)
    assert store.event_log.forget_domain(DOMAIN, 1000)
    assert first == store.event_log.append(DOMAIN, event, EntryKind.GIVEN)


def test_many_domains_are_trimmed_together(make_store: MakeStore) -> None:
    store = make_store(retention=1)
    for domain in ("a", "b", "c"):
        store.event_log.append(domain, b"{}")
    store.pass_ms(1100)
    trimmed = store.event_log.trim_many(["a", "b", "c"], exact=True)
    assert [(1, 0)] * 3 == [(one.entries, one.remaining) for one in trimmed]


def test_one_trim_removes_all_that_is_over_the_age(make_store: MakeStore) -> None:
    """However much it is: XTRIM alone stops after 10,000 entries."""
    store = make_store(retention=1)
    for _ in range(25):
        store.event_log.append_many([(DOMAIN, b"{}", EntryKind.FOREIGN, 0)] * 1000)
    store.pass_ms(1100)
    removed, _ = store.event_log.trim(DOMAIN)
    assert 25_000 - 200 <= removed  # whole nodes
