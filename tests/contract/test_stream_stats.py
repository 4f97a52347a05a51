"""How large each log is, and how many events of each type were emitted into it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from celeriac.delivery import Group
from celeriac.event_log import StreamStats
from tests.contract.store import DOMAIN, Store


def volume(store: Store, domain: str = DOMAIN) -> StreamStats:
    [found] = store.event_log.stream_stats([domain])
    return found


def test_length_and_the_count_of_all_appended_entries_are_returned(
    make_store: Callable[..., Store],
) -> None:
    store, group = make_store(retention_count=1), Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    for name in "abc":
        store.emit(name)
    for claimed in store.run(group):
        store.complete(group, claimed)
    store.event_log.append_delayed(DOMAIN, b"{}", delay_ms=60_000, at_ms=None)
    assert (3, 3, 1) == (volume(store).length, volume(store).appended, volume(store).delayed)
    store.event_log.trim(DOMAIN, exact=True)
    assert (1, 3) == (volume(store).length, volume(store).appended)


def test_a_domain_that_is_none_is_empty(store: Store) -> None:
    store.emit("a")
    empty, full = store.event_log.stream_stats(["nothing", DOMAIN])
    assert StreamStats("nothing") == empty
    assert 1 == full.appended
    assert [] == store.event_log.stream_stats([])


def test_what_is_emitted_is_counted_by_type_and_domain_within_seconds(store: Store) -> None:
    store.event_log.note_emitted(["order.placed", "order.paid", "order.placed", "payment.captured"])
    store.event_log.note_emitted(["order.placed"])
    deadline = time.monotonic() + 30
    wanted = [{"order.placed": 3, "order.paid": 1}, {"payment.captured": 1}]

    def counted() -> list[Mapping[str, int]]:
        return [volume(store, domain).emitted for domain in (DOMAIN, "payment")]

    while counted() != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    assert counted() == wanted
