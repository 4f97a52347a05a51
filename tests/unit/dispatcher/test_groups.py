"""Where a handler begins in each domain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from celeriac import Event
from celeriac.delivery import Group
from celeriac.dispatcher.groups import (
    FIRST,
    NEWEST,
    join,
    leave_domains,
    plan_joins,
    rejoin,
    without_domains,
)
from celeriac.handler import Handler, HandlerOptions, make_handler
from celeriac.registry import HandlerRecord
from celeriac.testing.store import Store


def fetch(event: Event) -> None: ...


def handler(*patterns: str, start: Any = "now", **options: Any) -> Handler:
    options["start"] = start
    return make_handler(fetch, patterns, HandlerOptions(**options), service="billing")


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


def test_joining_now_takes_part_after_the_last_of_several_entries(store: Store) -> None:
    with store.event_log.silence():
        entries = [store.event_log.append("order", b"{}") for _ in range(3)]
    (record,) = join(store.backend, [handler("order.placed")], set())
    assert {"order": entries[-1]} == record.since


@pytest.mark.parametrize(
    ("gone", "remaining"),
    [(set(), {"a", "b", "c"}), ({"a", "b"}, {"a", "c"}), ({"c"}, {"a", "b"}), ({"z"}, {*"abc"})],
)
def test_a_removed_domain_is_forgotten_unless_the_handler_names_it(
    gone: set[str], remaining: set[str]
) -> None:
    record = known("a.placed", "*.paid", a="1-0", b="2-0", c="3-0")
    assert {d: record.since[d] for d in remaining} == without_domains(record, gone).since


def test_removed_domains_are_left_by_the_handlers_that_had_a_group_there(store: Store) -> None:
    for name in ("fetch", "other", "elsewhere"):
        since = {"b": "1-0"} if name == "elsewhere" else {"a": "1-0", "b": "1-0"}
        record = msgspec.structs.replace(known("#"), id=f"billing.{name}", since=since)
        store.registry.register(record)
    leave_domains(store.backend, {"billing.fetch", "billing.elsewhere"}, {"a"})
    left = {name: set(record.since) for name, record in store.registry.handlers().items()}
    assert {
        "billing.fetch": {"b"}, "billing.other": {"a", "b"}, "billing.elsewhere": {"b"}
    } == left  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"when": lambda event: True}])
def test_the_record_has_whether_the_handler_selects_events(
    store: Store, options: dict[str, Any]
) -> None:
    (record,) = join(store.backend, [handler("order.placed", **options)], set())
    assert bool(options) is record.when


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


def test_code_that_has_a_leaving_or_retired_pattern_keeps_it_in_force(store: Store) -> None:
    times = {"order.a": 5, "order.b": 6, "@acme": 7, "@globex": 8}
    before = known("order.a", "order.b", order="0-0")
    store.registry.register(msgspec.structs.replace(before, leaving=times, retired=times))
    (record,) = join(store.backend, [handler("order.a", tenants=["acme"])], set())
    assert {"order.b": 6, "@globex": 8} == record.leaving
    assert {"order.b": 6, "@acme": 7, "@globex": 8} == record.retired


def test_the_time_of_a_pattern_that_was_added_to_a_known_handler_is_recorded(store: Store) -> None:
    (first,) = join(store.backend, [handler("order.a")], set())
    assert {} == first.added
    store.clock.advance(1000)
    (second,) = join(store.backend, [handler("order.a", "order.b")], set())
    assert {"order.b": store.clock.now_ms()} == second.added
    assert first.registered_ms == second.registered_ms
    store.clock.advance(1000)
    (third,) = join(store.backend, [handler("order.a", "order.b", "order.c")], set())
    assert {"order.b": store.clock.now_ms() - 1000, "order.c": store.clock.now_ms()} == third.added


@pytest.mark.parametrize("paused", [True, False])
def test_a_new_handler_with_paused_is_paused_before_it_has_a_group(
    store: Store, paused: bool
) -> None:
    some = handler("order.placed", paused=paused)
    join(store.backend, [some], set())
    limit = store.backend.circuits.probe(some.id, "w", 30_000).limit
    assert limit == (0 if paused else None)
    # Once resumed, a restart does not pause it again, even if its record was lost.
    store.backend.circuits.resume(some.id)
    join(store.backend, [some], set())
    store.registry._handlers.clear()
    join(store.backend, [some], {"order"})
    assert store.backend.circuits.probe(some.id, "w", 30_000).limit is None


def test_a_wildcard_whose_record_is_gone_misses_no_new_domain(
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
