"""The bounded log: what counts, which producers are refused or wait, and how long."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from celeriac.delivery import Group, Outcome
from celeriac.errors import LogFull
from celeriac.event_log import EntryKind
from tests.contract.store import DOMAIN, Store, body
from tests.contract.test_chunks import completion, fetch

MakeStore = Callable[..., Store]
MOST = 64
FOREIGN = EntryKind.FOREIGN


@pytest.fixture
def full(make_store: MakeStore) -> Callable[..., tuple[Store, Group]]:
    """Makes a store that refuses, and fills it for one handler; its group."""

    def make(**given: object) -> tuple[Store, Group]:
        store = make_store(**{"max_backlog": MOST, "log_full": "raise", **given})
        group = Group(DOMAIN, "billing.charge")
        store.event_log.join(DOMAIN, group.handler, "0")
        for n in range(MOST):
            store.emit(f"e{n}")
        return store, group

    return make


Full = Callable[..., tuple[Store, Group]]


def test_what_is_over_the_bound_is_refused_with_the_remedy(full: Full) -> None:
    store, _ = full()
    with pytest.raises(LogFull, match=r"billing\.charge.*CELERIAC_MAX_BACKLOG is 64"):
        store.emit("more")
    assert store.event_log.length(DOMAIN) == MOST


def test_it_is_open_again_once_handlers_have_caught_up(full: Full) -> None:
    store, group = full()
    for claimed in store.run(group):
        store.complete(group, claimed)
    store.emit("more")
    assert store.event_log.length(DOMAIN) == MOST + 1


def test_what_is_in_flight_counts(full: Full) -> None:
    """Given to a worker is not finished."""
    store, group = full()
    store.fetch(group)
    with pytest.raises(LogFull):
        store.emit("more")


def test_what_is_in_an_open_chunk_counts(full: Full) -> None:
    store, group = full()
    chunk, fetched = fetch(store, group)
    with pytest.raises(LogFull, match=r"64 uncompleted events of the handler billing\.charge"):
        store.emit("more")
    assert store.chunks.complete("w1", group, chunk, completion(fetched.entries[: MOST // 2]))
    for n in range(MOST // 2):
        store.emit(f"more{n}")
    with pytest.raises(LogFull):
        store.emit("more")


def test_what_is_finished_and_kept_by_the_retention_does_not_count(full: Full) -> None:
    store, group = full()
    for n in range(3 * MOST):
        for claimed in store.run(group):
            store.complete(group, claimed)
        store.emit(f"more{n}")
    assert store.event_log.length(DOMAIN) == 4 * MOST


def test_a_log_without_groups_is_bounded_by_the_retention_alone(make_store: MakeStore) -> None:
    store = make_store(max_backlog=10, log_full="raise")
    for n in range(50):
        store.emit(f"e{n}")
    assert store.event_log.length(DOMAIN) == 50


def test_the_slowest_handler_decides(full: Full) -> None:
    store, group = full()
    slow = Group(DOMAIN, "shipping.pack")
    store.event_log.join(DOMAIN, slow.handler, "0")
    for claimed in store.run(group):
        store.complete(group, claimed)
    with pytest.raises(LogFull, match=r"shipping\.pack"):
        store.emit("more")
    store.event_log.leave(DOMAIN, slow.handler)
    store.emit("more")


def test_what_is_delayed_counts(make_store: MakeStore) -> None:
    store = make_store(max_backlog=MOST, log_full="raise")
    for n in range(MOST):
        store.event_log.append_delayed(DOMAIN, body(f"e{n}"), delay_ms=60_000, at_ms=None)
    with pytest.raises(LogFull):
        store.event_log.append_delayed(DOMAIN, body("more"), delay_ms=60_000, at_ms=None)
    with pytest.raises(LogFull):
        store.emit("more")


def test_many_are_appended_up_to_the_bound_and_the_rest_is_returned(make_store: MakeStore) -> None:
    store = make_store(max_backlog=MOST, log_full="raise")
    store.event_log.join(DOMAIN, "billing.charge", "0")
    with pytest.raises(LogFull) as caught:
        store.event_log.append_many([(DOMAIN, body(f"e{n}"), FOREIGN, 0) for n in range(3 * MOST)])
    assert caught.value.appended == MOST == store.event_log.length(DOMAIN)


def test_other_domains_have_room(full: Full) -> None:
    store, _ = full()
    store.event_log.append("payment", body("p"))
    with pytest.raises(LogFull) as caught:
        store.event_log.append_many(
            [("payment", body("q"), FOREIGN, 0), (DOMAIN, body("r"), FOREIGN, 0)]
        )
    assert caught.value.appended == 1


def test_blocking_ends_after_its_time(full: Full) -> None:
    store, _ = full(log_full="block", emit_timeout=0.3)
    started = time.monotonic()
    with pytest.raises(LogFull):
        store.emit("more")
    assert 0.25 <= time.monotonic() - started < 5


def test_a_waiting_producer_continues_when_there_is_room(full: Full) -> None:
    store, group = full(log_full="block", emit_timeout=20)
    done = threading.Event()

    def emit() -> None:
        store.emit("more")
        done.set()

    thread = threading.Thread(target=emit, daemon=True)
    thread.start()
    assert not done.wait(0.2)
    for claimed in store.run(group):
        store.complete(group, claimed, Outcome.PROCESSED)
    assert done.wait(10)
    thread.join(10)


def test_a_group_that_began_in_the_middle_is_judged_by_its_own_backlog(
    make_store: MakeStore,
) -> None:
    """Redis cannot count the entries before it, and no entry after it matters."""
    store = make_store(max_backlog=MOST, log_full="raise")
    for n in range(2 * MOST):
        store.emit(f"e{n}")
        if n % 16 == 0:
            store.pass_ms(2)
    newest = store.event_log.read(DOMAIN, count=1, newest_first=True)[0]
    store.event_log.join(DOMAIN, "billing.late", f"{newest.time_ms - 1}-{2**64 - 1}")
    store.emit("more")
