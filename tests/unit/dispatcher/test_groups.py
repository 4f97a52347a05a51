"""Where a handler begins in each domain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from celeriac import Event
from celeriac.delivery import Group
from celeriac.dispatcher.groups import FIRST, NEWEST, join, plan_joins, rejoin
from celeriac.handler import Handler, HandlerOptions, make_handler
from celeriac.registry import HandlerRecord
from celeriac.testing.store import Store


def fetch(event: Event) -> None: ...


def handler(*patterns: str, start: Any = "now") -> Handler:
    return make_handler(fetch, patterns, HandlerOptions(start=start), service="billing")


def known(*patterns: str, **since: str) -> HandlerRecord:
    return HandlerRecord(
        id="billing.fetch", service="billing", patterns=patterns, queue="billing", since=since
    )


AT = datetime(2026, 1, 1, tzinfo=UTC)
BEFORE_AT = f"{int(AT.timestamp() * 1000) - 1}-{2**64 - 1}"

PLANS: list[tuple[str, Handler, HandlerRecord | None, set[str], dict[str, str]]] = [
    ("new: from now", handler("order.placed"), None, set(), {"order": NEWEST}),
    ("new: from the beginning", handler("a.b", start="beginning"), None, {"a"}, {"a": FIRST}),
    ("new: from a time", handler("a.b", start=AT), None, {"a"}, {"a": BEFORE_AT}),
    ("new: only the domains it names", handler("a.b", "c.*"), None, {"a", "z"},
     {"a": NEWEST, "c": NEWEST}),
    ("new wildcard: every domain there is", handler("#"), None, {"a", "b"},
     {"a": NEWEST, "b": NEWEST}),
    ("new wildcard beside a name", handler("*.failed", "a.b"), None, {"z"},
     {"a": NEWEST, "z": NEWEST}),
    ("new wildcard, no domain yet", handler("#"), None, set(), {}),
    ("known: nothing new", handler("a.b"), known("a.b", a="5-0"), {"a", "b"}, {}),
    ("known wildcard: a domain appeared", handler("#"), known("#", a="5-0"), {"a", "b"},
     {"b": FIRST}),
    ("known wildcard: the first domain", handler("#"), known("#"), {"a"}, {"a": FIRST}),
    ("known: a pattern was added", handler("a.b", "c.d"), known("a.b", a="5-0"), {"a", "c"},
     {"c": NEWEST}),
    ("known: a wildcard was added", handler("a.b", "#"), known("a.b", a="5-0"), {"a", "c"},
     {"c": NEWEST}),
    ("known: a name was added to a wildcard", handler("#", "c.d"), known("#", a="5-0"), {"a"},
     {"c": FIRST}),
    ("known: its pattern went", handler("c.d"), known("a.b", a="5-0"), {"a"}, {"c": NEWEST}),
    ("known: its named domain was lost", handler("a.b"), known("a.b"), set(), {"a": FIRST}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("handler", "known", "domains", "plan"), [p[1:] for p in PLANS], ids=[p[0] for p in PLANS]
)
def test_the_plan(
    handler: Handler, known: HandlerRecord | None, domains: set[str], plan: dict[str, str]
) -> None:
    assert plan == plan_joins(handler, known, domains)


def test_a_start_before_the_epoch_is_the_beginning_of_time() -> None:
    old = handler("a.b", start=datetime(1960, 1, 1, tzinfo=UTC))
    assert plan_joins(old, None, set())["a"].startswith("0-")


def test_joining_now_takes_part_after_the_newest_entry(store: Store) -> None:
    with store.event_log.silence():
        entry = store.event_log.append("order", b"{}")
    (record,) = join(store.backend, [handler("order.placed")], set())
    assert {"order": entry} == record.since
    assert entry == store.event_log.groups("order")[0].last_delivered


def test_joining_twice_changes_nothing(store: Store) -> None:
    first = join(store.backend, [handler("order.placed")], set())
    with store.event_log.silence():
        store.event_log.append("order", b"{}")
    store.clock.advance(1000)
    assert first == join(store.backend, [handler("order.placed")], set())
    assert {"billing.fetch": first[0]} == dict(store.registry.handlers())


def test_a_group_that_was_lost_is_made_again_where_it_began(store: Store) -> None:
    with store.event_log.silence():
        entry = store.event_log.append("order", b"{}")
    join(store.backend, [handler("order.placed")], set())
    store.event_log.leave("order", "billing.fetch")
    join(store.backend, [handler("order.placed")], set())
    assert entry == store.event_log.groups("order")[0].last_delivered


def test_who_was_removed_does_not_rejoin(store: Store) -> None:
    some = handler("order.placed")
    join(store.backend, [some], set())
    store.registry.unregister(some.id)
    store.event_log.leave("order", some.id)
    assert rejoin(store.backend, some, "order") is None
    assert [] == store.event_log.groups("order")


@pytest.mark.parametrize("removed_at", ["before its group is made", "after its group is made"])
def test_a_removal_while_a_worker_joins_a_new_domain_wins(
    store: Store, monkeypatch: pytest.MonkeyPatch, removed_at: str
) -> None:
    some, make_group = handler("#"), store.event_log.join
    join(store.backend, [some], {"order"})

    def remove() -> None:
        """As `celeriac handlers remove`."""
        store.registry.unregister(some.id)
        for domain in store.event_log.domains():
            store.event_log.leave(domain, some.id)

    def make_group_beside_removal(domain: str, name: str, start: str) -> bool:
        if removed_at.startswith("before"):
            remove()
        made = make_group(domain, name, start)
        if removed_at.startswith("after"):
            remove()
        return made

    monkeypatch.setattr(store.event_log, "join", make_group_beside_removal)
    for joined in ([Group("order", some.id)], []):
        assert [] == join(store.backend, [some], {"order", "ship"}, joined, [some.id])
        assert {} == store.registry.handlers()
        assert store.registry.was_removed(some.id)
        assert [] == store.event_log.groups("order") == store.event_log.groups("ship")
    monkeypatch.undo()
    # A worker that starts registers it again.
    assert join(store.backend, [some], {"order", "ship"})
    assert {some.id} == store.registry.handlers().keys()


@pytest.mark.parametrize("pattern", ["order.placed", "#"])
def test_who_lost_everything_rejoins_from_the_first_entry(store: Store, pattern: str) -> None:
    some = handler(pattern)
    with store.event_log.silence():
        store.event_log.append("order", b"{}")
    record = rejoin(store.backend, some, "order")
    assert record and {"order": FIRST} == record.since
    assert 1 == store.event_log.groups("order")[0].lag


def test_older_code_that_joins_later_keeps_the_patterns_and_domains_of_the_newer(
    store: Store,
) -> None:
    (newer,) = join(store.backend, [handler("order.a", "payment.#")], set())
    (older,) = join(store.backend, [handler("order.a")], set())
    assert set(newer.patterns) == set(older.patterns) == {"order.a", "payment.#"}
    assert {"order", "payment"} == set(older.since)
    assert dict(store.registry.handlers()) == {"billing.fetch": older}


def test_a_wildcard_whose_record_is_gone_misses_no_domain_that_appeared_meanwhile(
    store: Store,
) -> None:
    with store.event_log.silence():
        store.event_log.append("order", b"{}")
    join(store.backend, [handler("#")], {"order"})
    store.registry._handlers.clear() if hasattr(
        store.registry, "_handlers"
    ) else store.registry.client.delete(store.registry.keys.handlers)  # type: ignore[attr-defined]
    with store.event_log.silence():
        store.event_log.append("ship", b"{}")
    (record,) = join(store.backend, [handler("#")], {"order", "ship"})
    assert FIRST == record.since["ship"]
    assert FIRST != record.since["order"]
