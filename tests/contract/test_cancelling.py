"""A delayed event that was cancelled before its time never enters the event log."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from celeriac.event import build_event, encode, event_key
from celeriac.event_log import EntryKind
from celeriac.event_log.delayed import MAX_UNREGISTERED
from tests.contract.store import DOMAIN, HOUR_MS, Store

GIVEN, MADE, FOREIGN = EntryKind.GIVEN, EntryKind.MADE, EntryKind.FOREIGN
SOURCE = "shop"
AT = datetime(2030, 1, 1, tzinfo=UTC)


def event(id: str, source: str = SOURCE, **more: object) -> bytes:
    return encode(build_event("order.placed", more, id=id, source=source, time=AT))


def delay(store: Store, body: bytes, kind: EntryKind = GIVEN, ms: int = HOUR_MS // 2) -> int:
    return store.event_log.append_delayed(DOMAIN, body, delay_ms=ms, at_ms=None, kind=kind)


def cancel(store: Store, id: str, source: str = SOURCE, domain: str = DOMAIN) -> bool:
    return store.event_log.cancel_delayed(event_key(id, source), [domain])


@pytest.mark.parametrize("kind", list(EntryKind))
def test_a_cancelled_event_never_comes(store: Store, kind: EntryKind) -> None:
    delay(store, event("a"), kind)
    delay(store, event("b"), kind)
    assert cancel(store, "a")
    assert [event("b")] == [body for _, body in store.event_log.upcoming(DOMAIN)]
    assert 1 == store.event_log.delayed(DOMAIN)
    store.pass_hour()
    assert (1, None) == store.event_log.enqueue_due(DOMAIN)
    assert [event("b")] == [entry.body for entry in store.event_log.read(DOMAIN)]


def test_it_is_cancelled_once_and_may_be_emitted_again(store: Store) -> None:
    delay(store, event("a"))
    assert cancel(store, "a") and not cancel(store, "a")
    delay(store, event("a", n=2))
    store.pass_hour()
    store.event_log.enqueue_due(DOMAIN)
    assert [event("a", n=2)] == [entry.body for entry in store.event_log.read(DOMAIN)]


def test_what_entered_the_log_cannot_be_cancelled(store: Store) -> None:
    delay(store, event("a"), ms=0)
    store.event_log.enqueue_due(DOMAIN)
    assert not cancel(store, "a")
    assert 1 == store.event_log.length(DOMAIN)


def test_what_was_emitted_at_once_cannot_either(store: Store) -> None:
    store.event_log.append(DOMAIN, event("a"), GIVEN)
    assert not cancel(store, "a")
    assert 1 == store.event_log.length(DOMAIN)


def test_the_same_id_of_another_source_or_in_another_domain_stays(store: Store) -> None:
    delay(store, event("a"))
    delay(store, event("a", "rival"))
    assert not cancel(store, "a", domain="payment")
    assert cancel(store, "a", "rival")
    assert [event("a")] == [body for _, body in store.event_log.upcoming(DOMAIN)]


def test_all_domains_that_are_named_are_searched(store: Store) -> None:
    delay(store, event("a"))
    key = event_key("a", SOURCE)
    assert not store.event_log.cancel_delayed(key, [])
    assert store.event_log.cancel_delayed(key, ["payment", DOMAIN, "stock"])


def test_of_events_with_one_key_the_first_stays_with_its_time(store: Store) -> None:
    """As after a lost reply, or from a handler that ran again."""
    at = delay(store, event("a", n=1), ms=60_000)
    delay(store, event("a", n=2), MADE, ms=0)
    assert [(at, event("a", n=1))] == store.event_log.upcoming(DOMAIN)


def test_no_other_event_keeps_a_signed_one_out(store: Store) -> None:
    """Any producer of the domain can use its key."""
    for n in range(MAX_UNREGISTERED):
        delay(store, event("a", n=n), FOREIGN)
    delay(store, event("a", n="true"), FOREIGN)
    delay(store, event("a", n="given"), GIVEN)
    bodies = {body for _, body in store.event_log.upcoming(DOMAIN)}
    assert {event("a", n="true"), event("a", n="given")} < bodies
    assert MAX_UNREGISTERED + 2 == len(bodies)
    assert cancel(store, "a")
    # The one beyond them is stored without a token.
    assert [event("a", n="true")] == [body for _, body in store.event_log.upcoming(DOMAIN)]


def test_an_event_that_is_forgotten_with_its_domain_is_not_found(store: Store) -> None:
    delay(store, event("a"))
    assert not store.event_log.forget_domain(DOMAIN, 0)
    assert cancel(store, "a")
