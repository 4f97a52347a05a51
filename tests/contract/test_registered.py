"""Events whose id was given enter the log once; so do those that are tried again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from celeriac.delivery import Group
from celeriac.errors import LogFull
from celeriac.event import build_event, encode, made_ms, new_event_id
from celeriac.event_log import EntryKind, Item, time_ms
from tests.contract.store import DOMAIN, Store

MakeStore = Callable[..., Store]
MADE, GIVEN, FOREIGN = EntryKind.MADE, EntryKind.GIVEN, EntryKind.FOREIGN


AT = datetime(2030, 1, 1, tzinfo=UTC)


def event(id: str, source: str = "shop", domain: str = DOMAIN, data: object = None) -> bytes:
    return encode(build_event(f"{domain}.placed", data, id=id, source=source, time=AT))


def given(id: str, domain: str = DOMAIN, data: object = None) -> Item:
    return domain, event(id, domain=domain, data=data), GIVEN, 0


def ids(store: Store) -> list[str]:
    return [entry.id for entry in store.event_log.read(DOMAIN)]


def test_a_given_id_enters_the_log_once(store: Store) -> None:
    first = store.event_log.append(DOMAIN, event("a"), GIVEN)
    other = store.event_log.append(DOMAIN, event("b"), GIVEN)
    assert first == store.event_log.append(DOMAIN, event("a", data="other"), GIVEN)
    assert [first, other] == ids(store)


def test_another_source_or_domain_is_another_event(store: Store) -> None:
    entries = [
        store.event_log.append(DOMAIN, event("a", source), GIVEN) for source in ("shop", "till")
    ]
    store.event_log.append("payment", event("a", domain="payment"), GIVEN)
    assert entries == ids(store)
    assert 1 == store.event_log.length("payment")


def test_given_ids_of_one_batch_enter_the_log_once_and_in_their_order(store: Store) -> None:
    foreign: Item = (DOMAIN, event("c"), FOREIGN, 0)
    made: Item = (DOMAIN, event("d"), MADE, 0)
    items = [given("a"), made, given("b"), given("a"), given("a", "payment"), foreign, given("b")]
    assert len(items) == store.event_log.append_many(items)
    assert [event(id) for id in "adbc"] == [entry.body for entry in store.event_log.read(DOMAIN)]
    assert 1 == store.event_log.length("payment")


def test_a_batch_of_many_given_ids_is_appended_whole(store: Store) -> None:
    items = [given(f"e{n % 300}", data="x" * 5000) for n in range(450)]
    assert 450 == store.event_log.append_many(items)
    assert 300 == store.event_log.length(DOMAIN)
    assert 450 == store.event_log.append_many(items)
    assert 300 == store.event_log.length(DOMAIN)


def test_a_given_id_is_known_for_the_window_and_forgotten_after_two(make_store: MakeStore) -> None:
    store = make_store(dedup_window=1000)
    first = store.event_log.append(DOMAIN, event("a"), GIVEN)
    store.age(700_000)
    assert first == store.event_log.append(DOMAIN, event("a"), GIVEN)
    store.age(600_000)
    # Begins another generation.
    late = store.event_log.append(DOMAIN, event("b"), GIVEN)
    store.age(200_000)
    assert late == store.event_log.append(DOMAIN, event("b"), GIVEN)
    store.age(800_000)
    again = store.event_log.append(DOMAIN, event("a"), GIVEN)
    assert again != first
    assert late == store.event_log.append(DOMAIN, event("b"), GIVEN)
    store.age(2_100_000)
    assert again != store.event_log.append(DOMAIN, event("a"), GIVEN)


def test_what_a_full_log_refuses_is_not_registered(make_store: MakeStore) -> None:
    store = make_store(max_backlog=1, log_full="raise")
    group = Group(DOMAIN, "billing.charge")
    store.event_log.join(DOMAIN, group.handler, "0")
    with pytest.raises(LogFull) as caught:
        store.event_log.append_many([given("a"), given("b"), given("c")])
    appended = caught.value.appended
    assert appended == store.event_log.length(DOMAIN) >= 1
    with pytest.raises(LogFull):
        store.event_log.append(DOMAIN, event("c"), GIVEN)
    with pytest.raises(LogFull):
        store.event_log.append_delayed(DOMAIN, event("c"), delay_ms=0, at_ms=None, kind=GIVEN)
    store.event_log.leave(DOMAIN, group.handler)
    store.pass_ms(1100)
    store.event_log.append(DOMAIN, event("c"), GIVEN)
    assert appended + 1 == store.event_log.length(DOMAIN)


def test_a_delayed_event_enters_the_log_once(store: Store) -> None:
    for kind in (GIVEN, GIVEN, MADE):
        store.event_log.append_delayed(
            DOMAIN, event("a", data=str(kind)), delay_ms=0, at_ms=None, kind=kind
        )
    store.event_log.append(DOMAIN, event("b"), GIVEN)
    store.event_log.append_delayed(DOMAIN, event("b"), delay_ms=0, at_ms=None, kind=GIVEN)
    assert {event("a", data=str(GIVEN)), event("b")} == {
        body for _, body in store.event_log.upcoming(DOMAIN)
    }
    assert (2, None) == store.event_log.enqueue_due(DOMAIN)
    assert 2 == store.event_log.length(DOMAIN)
    promoted = store.event_log.read(DOMAIN)[-1]
    assert promoted.id == store.event_log.append(DOMAIN, event("a"), GIVEN)
    assert GIVEN is promoted.kind


def test_a_foreign_event_may_be_delayed_as_before(store: Store) -> None:
    for _ in range(2):
        store.event_log.append_delayed(DOMAIN, event("a"), delay_ms=0, at_ms=None)
        store.event_log.enqueue_due(DOMAIN)
    assert [FOREIGN, FOREIGN] == [entry.kind for entry in store.event_log.read(DOMAIN)]


def test_an_event_with_many_attempts_is_appended_again(store: Store) -> None:
    body = event(new_event_id())
    first = store.event_log.append(DOMAIN, body, MADE)
    tried = [store.event_log.append(DOMAIN, body, MADE, time_ms()) for _ in range(3)]
    assert 1 == len(set(tried))
    assert [first, tried[0]] == ids(store)
    assert [MADE, GIVEN] == [entry.kind for entry in store.event_log.read(DOMAIN)]
    assert tried[0] == store.event_log.append(DOMAIN, body, GIVEN, made_ms(new_event_id()))
