"""The promises of EventLog."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from celeriac.delivery import ORDERED, FetchRequest, Group, Outcome
from celeriac.delivery.chunk_store import ChunkRequest
from celeriac.event_log import EntryKind, GroupInfo, entry_key
from tests.contract.store import DOMAIN, HOUR_MS, Store, body

MakeStore = Callable[..., Store]


def ids(store: Store) -> list[str]:
    return [entry.id for entry in store.event_log.read(DOMAIN)]


def bodies(store: Store) -> list[bytes | None]:
    return [entry.body for entry in store.event_log.read(DOMAIN)]


def info(store: Store, handler: str) -> GroupInfo:
    [found] = [g for g in store.event_log.groups(DOMAIN) if g.handler == handler]
    return found


# -- appending and reading


def test_entries_come_back_in_the_order_in_which_they_went_in(store: Store) -> None:
    appended = [store.event_log.append(DOMAIN, b"%d" % n) for n in range(20)]
    assert appended == ids(store)
    assert sorted(appended, key=entry_key) == appended
    assert [b"%d" % n for n in range(20)] == bodies(store)
    assert 20 == store.event_log.length(DOMAIN)


def test_the_id_of_an_entry_begins_with_its_time(store: Store) -> None:
    store.emit("a")
    [entry] = store.event_log.read(DOMAIN)
    assert abs(entry.time_ms - store.registry.now_ms()) < 60_000


def test_a_range_includes_its_bounds_unless_they_are_in_parentheses(store: Store) -> None:
    a, b, c = (store.emit(name) for name in "abc")
    assert [a, b] == [e.id for e in store.event_log.read(DOMAIN, end=b)]
    assert [b, c] == [e.id for e in store.event_log.read(DOMAIN, start=b)]
    assert [c] == [e.id for e in store.event_log.read(DOMAIN, start=f"({b}")]
    assert [a] == [e.id for e in store.event_log.read(DOMAIN, end=f"({b}")]
    assert [] == store.event_log.read(DOMAIN, start=f"({c}")


def test_newest_first_counts_from_the_newest(store: Store) -> None:
    _, b, c = (store.emit(name) for name in "abc")
    assert [c, b] == [e.id for e in store.event_log.read(DOMAIN, count=2, newest_first=True)]


def test_reading_a_domain_that_is_not_there_finds_nothing(store: Store) -> None:
    assert [] == store.event_log.read("nothing")
    assert 0 == store.event_log.length("nothing") == store.event_log.delayed("nothing")
    assert [] == store.event_log.groups("nothing")
    assert (0, 0) == store.event_log.trim("nothing")
    assert 0 == store.event_log.remove_idle_consumers("nothing")


def test_many_are_appended_each_to_its_domain_in_their_order(store: Store) -> None:
    names = ["order", "payment", "order"]
    items = [(name, b"%d" % n, EntryKind.FOREIGN, 0) for n, name in enumerate(names)]
    assert 3 == store.event_log.append_many(items)
    assert [b"0", b"2"] == [e.body for e in store.event_log.read("order")]
    assert [b"1"] == [e.body for e in store.event_log.read("payment")]


def test_an_entry_keeps_the_kind_with_which_it_was_appended(store: Store, group: Group) -> None:
    kinds = [EntryKind.MADE, EntryKind.FOREIGN]
    for kind in kinds:
        store.event_log.append(DOMAIN, b"{}", kind)
    store.event_log.append_many([(DOMAIN, b"{}", kind, 0) for kind in kinds])
    store.event_log.append(DOMAIN, b"{}")
    expected = [*kinds, *kinds, EntryKind.FOREIGN]
    assert expected == [entry.kind for entry in store.event_log.read(DOMAIN)]
    requests = [ChunkRequest(group, "a", 2, running=True), ChunkRequest(group, "b", 3)]
    first, second = store.chunks.fetch("w1", requests)
    assert expected == [entry.kind for entry in (*first.entries, *second.entries)]
    assert expected[2:] == [entry.kind for entry in store.chunks.begin("w1", group, "b") or ()]


@pytest.mark.parametrize("kind", EntryKind)
def test_the_event_of_an_entry_of_any_kind_is_found(
    store: Store, group: Group, kind: EntryKind
) -> None:
    event = body("a", specversion="1.0", source="shop", type="order.placed")
    store.event_log.append(DOMAIN, event, kind)
    [taken] = store.fetch(group).deliveries
    [claimed] = store.claim(group, [taken])
    assert event == taken.body == claimed.body
    assert store.complete(group, claimed, Outcome.DEAD)
    [letter] = store.deliveries.dead(DOMAIN)
    assert event == letter.event


def test_a_domain_is_known_once_it_was_announced(store: Store) -> None:
    store.event_log.register_domains([])
    assert frozenset() == store.event_log.domains()
    store.event_log.register_domains(["order", "payment"])
    store.event_log.register_domains(["order"])
    assert {"order", "payment"} == store.event_log.domains()


def test_a_log_that_a_foreign_producer_began_is_discovered_once(store: Store) -> None:
    store.event_log.register_domains(["order"])
    store.event_log.append("order", b"{}")
    store.event_log.append("legacy", b"{}")
    assert {"legacy"} == store.event_log.discover()
    assert frozenset() == store.event_log.discover()
    assert {"order", "legacy"} == store.event_log.domains()


# -- delayed events


def test_a_delayed_event_enters_the_log_when_its_time_has_come(store: Store) -> None:
    now = store.registry.now_ms()
    at = store.event_log.append_delayed(DOMAIN, b"later", delay_ms=HOUR_MS // 2, at_ms=None)
    assert abs(now + HOUR_MS // 2 - at) < 60_000
    assert (0, at) == store.event_log.enqueue_due(DOMAIN)
    assert 1 == store.event_log.delayed(DOMAIN)
    store.pass_hour()
    assert (1, None) == store.event_log.enqueue_due(DOMAIN)
    assert [b"later"] == bodies(store)
    assert 0 == store.event_log.delayed(DOMAIN)


def test_delayed_events_enter_in_the_order_of_their_times_and_once(store: Store) -> None:
    now = store.registry.now_ms()
    for n in (3, 1, 2):
        store.event_log.append_delayed(DOMAIN, b"%d" % n, delay_ms=None, at_ms=now - 1000 + n)
    assert (2, now - 997) == store.event_log.enqueue_due(DOMAIN, count=2)
    assert (1, None) == store.event_log.enqueue_due(DOMAIN)
    assert (0, None) == store.event_log.enqueue_due(DOMAIN)
    assert [b"1", b"2", b"3"] == bodies(store)


def test_the_same_event_delayed_twice_is_one_at_the_later_word(store: Store) -> None:
    store.event_log.append_delayed(DOMAIN, b"later", delay_ms=1, at_ms=None)
    store.event_log.append_delayed(DOMAIN, b"later", delay_ms=HOUR_MS // 2, at_ms=None)
    assert 1 == store.event_log.delayed(DOMAIN)
    assert 0 == store.event_log.enqueue_due(DOMAIN)[0]


# -- groups


@pytest.mark.parametrize(("start", "given"), [("0", [0, 1, 2]), ("$", [2]), ("first", [1, 2])])
def test_a_group_is_given_what_comes_after_its_start(
    store: Store, start: str, given: list[int]
) -> None:
    entries = [store.emit("0"), store.emit("1")]
    assert store.event_log.join(DOMAIN, "billing.late", entries[0] if start == "first" else start)
    entries.append(store.emit("2"))
    taken = store.fetch(Group(DOMAIN, "billing.late"))
    assert [entries[n] for n in given] == [d.entry for d in taken.deliveries]


def test_joining_twice_changes_nothing(store: Store) -> None:
    store.emit("a")
    assert store.event_log.join(DOMAIN, "billing.charge", "$")
    assert not store.event_log.join(DOMAIN, "billing.charge", "0")
    assert () == store.fetch(Group(DOMAIN, "billing.charge")).deliveries


def test_joining_makes_the_log_and_announces_it(store: Store) -> None:
    store.event_log.join("new", "billing.charge", "$")
    assert {"new"} == store.event_log.domains()
    assert ["billing.charge"] == [g.handler for g in store.event_log.groups("new")]


def test_a_fetch_reports_that_a_handler_left(store: Store, group: Group) -> None:
    store.emit("a")
    assert store.event_log.leave(DOMAIN, group.handler)
    assert not store.event_log.leave(DOMAIN, group.handler)
    assert not store.event_log.leave("nothing", group.handler)
    assert store.fetch(group).removed
    assert [] == store.event_log.groups(DOMAIN)


def test_one_handler_that_left_takes_nothing_from_the_others(store: Store, group: Group) -> None:
    store.emit("a")
    gone, there = store.deliveries.fetch(
        "w1", [FetchRequest(Group(DOMAIN, "gone"), 10), FetchRequest(group, 10)]
    )
    assert gone.removed
    assert not there.removed
    assert 1 == len(there.deliveries)


def test_a_group_has_its_lag_and_the_owners_of_the_rest(store: Store, group: Group) -> None:
    a, _, c, _ = (store.emit(name) for name in "abcd")
    taken = store.fetch(group, limit=3)
    store.claim(group, taken.deliveries[:1])
    [found] = store.event_log.groups(DOMAIN)
    assert found.handler == group.handler
    assert found.last_delivered == c
    assert found.pending == 3
    assert found.lag == 1
    assert found.holders == {"queued:w1": 2, "running:w1": 1}
    assert found.oldest_pending == a


def test_a_group_that_has_finished_has_nothing_pending(store: Store, group: Group) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    store.complete(group, claimed)
    found = info(store, group.handler)
    assert (0, 0, {}, None) == (found.pending, found.lag, found.holders, found.oldest_pending)


# -- trimming


def finish_all(store: Store, group: Group) -> None:
    for claimed in store.run(group):
        store.complete(group, claimed)


def test_trimming_keeps_the_newest_within_the_count(make_store: MakeStore) -> None:
    store = make_store(retention_count=2)
    entries = [store.emit(str(n)) for n in range(5)]
    assert (3, 0) == store.event_log.trim(DOMAIN, exact=True)
    assert entries[3:] == ids(store)
    assert (0, 0) == store.event_log.trim(DOMAIN, exact=True)


def test_a_count_of_nothing_keeps_nothing(make_store: MakeStore) -> None:
    store = make_store(retention_count=0)
    for n in range(5):
        store.emit(str(n))
    assert (5, 0) == store.event_log.trim(DOMAIN, exact=True)
    assert [] == ids(store)


def test_far_more_than_the_count_goes_in_one_call(make_store: MakeStore) -> None:
    store = make_store(retention_count=10)
    store.event_log.append_many([(DOMAIN, b"{}", EntryKind.FOREIGN, 0)] * 12_000)
    assert (11_990, 0) == store.event_log.trim(DOMAIN, exact=True)


def test_trimming_removes_what_is_over_the_age(make_store: MakeStore) -> None:
    store = make_store(retention=60)
    store.emit("a")
    store.age(61_000)
    b = store.emit("b")
    assert (1, 0) == store.event_log.trim(DOMAIN, exact=True)
    assert [b] == ids(store)


@pytest.mark.parametrize("name", ["a.slow", "j.slow", "z.slow"])
def test_trimming_stops_at_what_a_group_was_not_given(make_store: MakeStore, name: str) -> None:
    """Whichever place the group has among the others, which Redis lists by name."""
    store = make_store(retention_count=0)
    quick, slow = Group(DOMAIN, "i.quick"), Group(DOMAIN, name)
    for handler in (quick.handler, name, "k.quick"):
        store.event_log.join(DOMAIN, handler, "0")
    entries = [store.emit(str(n)) for n in range(5)]
    for one in (quick, Group(DOMAIN, "k.quick")):
        finish_all(store, one)
    assert (0, 0) == store.event_log.trim(DOMAIN, exact=True)
    for claimed in store.claim(slow, store.fetch(slow, limit=2).deliveries):
        store.complete(slow, claimed)
    assert (2, 0) == store.event_log.trim(DOMAIN, exact=True)
    assert entries[2:] == ids(store)


@pytest.mark.parametrize("outcome", [None, Outcome.RETRY, Outcome.REQUEUED])
def test_trimming_stops_at_what_is_pending_older_than_the_last_delivered(
    make_store: MakeStore, outcome: Outcome | None
) -> None:
    store, group = make_store(retention_count=0), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    entries = [store.emit(str(n)) for n in range(5)]
    claimed = store.run(group)
    for one in (claimed[0], claimed[1], claimed[3], claimed[4]):
        store.complete(group, one)
    if outcome:
        store.complete(group, claimed[2], outcome)
    assert (2, 0) == store.event_log.trim(DOMAIN, exact=True)
    assert entries[2:] == ids(store)


def test_trimming_stops_at_what_is_blocked(make_store: MakeStore) -> None:
    store, group = make_store(retention_count=0), Group(DOMAIN, "billing.ledger", ORDERED)
    store.event_log.join(DOMAIN, group.handler, "0")
    a, b = store.emit("a", "s"), store.emit("b", "s")
    [head] = store.run(group)
    store.complete(group, head)
    assert (1, 0) == store.event_log.trim(DOMAIN, exact=True)
    assert a == head.entry
    assert [b] == ids(store)


def test_a_group_that_begins_at_a_point_in_time_does_not_hinder_trimming(
    make_store: MakeStore,
) -> None:
    store = make_store(retention_count=0)
    store.event_log.join(DOMAIN, "billing.charge", f"{store.registry.now_ms() - 1000}-{2**64 - 1}")
    a = store.emit("a")
    assert (0, 0) == store.event_log.trim(DOMAIN, exact=True)
    assert [a] == ids(store)
    finish_all(store, Group(DOMAIN, "billing.charge"))
    assert (1, 0) == store.event_log.trim(DOMAIN, exact=True)


def test_whole_nodes_never_take_along_what_is_not_finished(make_store: MakeStore) -> None:
    store, group = make_store(retention_count=0), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    for n in range(500):
        store.emit(str(n))
    claimed = store.claim(group, store.fetch(group, limit=450).deliveries)
    for one in claimed[:-1]:
        store.complete(group, one)
    removed, _ = store.event_log.trim(DOMAIN)
    assert 300 <= removed <= 449
    assert claimed[-1].entry in ids(store)


def test_dead_letters_have_a_retention_of_their_own(make_store: MakeStore) -> None:
    store, group = make_store(dead_retention=60), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    store.emit("a")
    [claimed] = store.run(group)
    store.complete(group, claimed, Outcome.DEAD)
    assert (0, 0) == store.event_log.trim(DOMAIN, exact=True)
    store.age(61_000)
    assert (0, 1) == store.event_log.trim(DOMAIN, exact=True)
    assert 0 == store.deliveries.dead_count(DOMAIN)


def test_dead_letters_are_bounded_by_count_too(make_store: MakeStore) -> None:
    """The oldest go; those that stay are the newest."""
    store, group = make_store(max_dead_letters=3), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    for n in range(10):
        store.emit(f"e{n}")
    for claimed in store.run(group):
        store.complete(group, claimed, Outcome.DEAD)
    assert (0, 7) == store.event_log.trim(DOMAIN, exact=True)
    assert ["e7", "e8", "e9"] == [one.event_key for one in store.deliveries.dead(DOMAIN)]
    assert (0, 0) == store.event_log.trim(DOMAIN, exact=True)


def test_removing_idle_consumers_removes_no_delivery(store: Store, group: Group) -> None:
    entry = store.emit("a")
    store.fetch(group)
    store.event_log.remove_idle_consumers(DOMAIN)
    assert "queued:w1" == store.owner(group, entry)


# -- waiting


def in_a_moment(call: Callable[[], object]) -> threading.Timer:
    timer = threading.Timer(0.1, call)
    timer.start()
    return timer


def test_waiting_ends_at_once_where_something_is_newer(store: Store) -> None:
    entry = store.emit("a")
    started = time.monotonic()
    assert {DOMAIN: entry} == store.event_log.wait({DOMAIN: "0"}, 60)
    assert time.monotonic() - started < 30


def test_waiting_goes_straight_to_the_newest(store: Store) -> None:
    newest = [store.emit(str(n)) for n in range(10)][-1]
    seen = store.event_log.wait({DOMAIN: "0", "payment": "0"}, 5)
    assert {DOMAIN: newest, "payment": "0"} == seen


def test_waiting_ends_without_news_after_its_time(store: Store) -> None:
    seen = {DOMAIN: store.emit("a"), f"wakeup {DOMAIN}": "0"}
    started = time.monotonic()
    assert seen == store.event_log.wait(seen, 0.1)
    assert 0.05 < time.monotonic() - started < 30


def test_waiting_on_nothing_ends_at_once(store: Store) -> None:
    assert {} == store.event_log.wait({}, 5)


def test_an_append_wakes_waiting_dispatchers(store: Store) -> None:
    timer = in_a_moment(lambda: store.emit("a"))
    seen = store.event_log.wait({DOMAIN: "0", "payment": "0"}, 5)
    timer.join()
    assert {DOMAIN: ids(store)[0], "payment": "0"} == seen


def test_what_falls_due_at_once_notifies_dispatchers(store: Store, group: Group) -> None:
    store.emit("a")
    [claimed] = store.run(group)
    seen = {DOMAIN: claimed.entry, f"wakeup {DOMAIN}": "0"}
    timer = in_a_moment(lambda: store.complete(group, claimed, Outcome.RETRY))
    woken = store.event_log.wait(seen, 5)
    timer.join()
    assert woken[f"wakeup {DOMAIN}"] != "0"
    assert woken[DOMAIN] == claimed.entry


@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.REQUEUED])
@pytest.mark.parametrize("delay_ms", [0, HOUR_MS])
def test_what_is_requeued_notifies_dispatchers_whatever_its_delay(
    store: Store, group: Group, outcome: Outcome, delay_ms: int
) -> None:
    """So that a dispatcher that does not ask for the handler learns when to."""
    store.emit("a")
    [claimed] = store.run(group)
    seen = {f"wakeup {DOMAIN}": "0"}
    assert seen == store.event_log.wait(seen, 0.01)
    assert store.complete(group, claimed, outcome, delay_ms=delay_ms)
    assert seen != store.event_log.wait(seen, 0.01)


def test_requeued_deliveries_of_a_worker_notify_dispatchers(store: Store, group: Group) -> None:
    """Else it would wait for the next look of another worker at each warm stop."""
    store.emit("a")
    store.fetch(group)
    seen = {f"wakeup {DOMAIN}": "0"}
    assert seen == store.event_log.wait(seen, 0.01)
    store.deliveries.requeue("w1", group)
    assert seen != store.event_log.wait(seen, 0.01)


def test_what_is_delayed_notifies_dispatchers(store: Store) -> None:
    """So dispatchers need not ask thousands of domains every half second for the next one."""
    seen = {f"wakeup {DOMAIN}": "0"}
    store.event_log.append_delayed(DOMAIN, b"far", delay_ms=HOUR_MS, at_ms=None)
    first = store.event_log.wait(seen, 5)
    assert seen != first
    assert first == store.event_log.wait(first, 0.01)
