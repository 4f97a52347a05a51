"""Which entries a handler wants."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from celeriac import Event
from celeriac.delivery import Delivery, Outcome
from celeriac.dispatcher.message_filter import filter_deliveries, until_other_code_ms
from celeriac.event import build_event, encode, key_id
from celeriac.event.encrypted import ENCRYPTED
from celeriac.handler import Handler, HandlerOptions, make_handler


def fetch(event: Event) -> None: ...
def take_int(event: Event[int]) -> None: ...


def handler(*patterns: str, function: Any = fetch, when: Any = None) -> Handler:
    options = HandlerOptions(name="take", when=when)
    return make_handler(function, patterns or ("order.placed",), options, service="billing")


def delivery(
    type: str = "order.placed",
    data: Any = None,
    *,
    handlers: tuple[str, ...] = (),
    entry: str = "1-0",
    attempts: int = 0,
) -> Delivery:
    event = build_event(type, data, source="test", id="e1", handlers=handlers)
    return Delivery(entry, encode(event), attempts)


def outcome(handler: Handler, delivery: Delivery) -> str:
    filtered = filter_deliveries(handler, [delivery], domain="order")
    if filtered.wanted:
        return "wanted"
    return filtered.unwanted[0].outcome.value if filtered.unwanted else "neither"


def test_what_the_patterns_match_is_wanted_and_keeps_its_attempts() -> None:
    filtered = filter_deliveries(handler(), [delivery(attempts=3)], domain="order")
    (item,) = filtered.wanted
    assert ("1-0", 3, "e1") == (item.entry, item.attempts, item.event.id)


def test_another_type_of_the_domain_is_ignored_with_its_attempts() -> None:
    (settled,) = filter_deliveries(
        handler(), [delivery("order.paid", attempts=1)], domain="order"
    ).unwanted
    assert ("1-0", "e1", 1, Outcome.IGNORED) == (
        settled.entry, key_id(settled.event_key), settled.attempt, settled.outcome
    )  # fmt: skip


def test_references_narrow_to_the_handlers_named() -> None:
    assert "wanted" == outcome(handler(), delivery(handlers=("a.b", "billing.take")))
    assert "ignored" == outcome(handler(), delivery(handlers=("a.b",)))


def test_references_do_not_widen_the_patterns() -> None:
    assert "ignored" == outcome(handler(), delivery("order.paid", handlers=("billing.take",)))


def test_when_decides_on_the_typed_event() -> None:
    big = handler(function=take_int, when=lambda event: event.data > 5)
    assert "wanted" == outcome(big, delivery(data=6))
    assert "skipped" == outcome(big, delivery(data=5))


def test_when_is_not_called_for_events_of_other_handlers() -> None:
    asked: list[str] = []

    def when(event: Event) -> bool:
        asked.append(event.id)
        return True

    curious = handler(when=when)
    assert "ignored" == outcome(curious, delivery("order.paid"))
    assert [] == asked


def test_an_event_whose_when_raises_goes_to_the_executor() -> None:
    assert "wanted" == outcome(handler(when=lambda event: 1 / 0), delivery())


def test_data_that_does_not_fit_goes_to_the_executor() -> None:
    picky = handler(function=take_int, when=lambda event: True)
    assert "wanted" == outcome(picky, delivery(data="text"))


def test_what_is_no_event_is_invalid_with_the_reason() -> None:
    filtered = filter_deliveries(
        handler(), [Delivery("1-0", b"{}", 0), Delivery("2-0", b"", 0)], domain="order"
    )
    assert ["1-0", "2-0"] == [entry for entry, _ in filtered.invalid]
    assert "specversion" in filtered.invalid[0][1]


def test_an_envelope_that_only_the_full_reader_refuses_is_invalid_where_when_needs_it() -> None:
    bad = Delivery("1-0", b'{"specversion":"1.0","id":"1","source":"","type":"order.placed"}', 0)
    assert ["1-0"] == [
        e
        for e, _ in filter_deliveries(
            handler(when=lambda event: True), [bad], domain="order"
        ).invalid
    ]


def test_entries_that_were_trimmed_outside_celeriac_are_gone() -> None:
    assert ["1-0"] == filter_deliveries(handler(), [Delivery("1-0", None, 0)], domain="order").gone


def test_each_delivery_is_judged_for_itself_and_in_order() -> None:
    mixed = [
        delivery(entry="1-0"), delivery("order.paid", entry="2-0"), Delivery("3-0", b"?", 0),
        delivery(entry="4-0"),
    ]  # fmt: skip
    filtered = filter_deliveries(handler(), mixed, domain="order")
    assert ["1-0", "4-0"] == [item.entry for item in filtered.wanted]


def test_an_event_that_another_one_replaces_is_coalesced_unless_it_is_not_wanted() -> None:
    replaced = [
        msgspec.structs.replace(each, into="9-0")
        for each in (delivery(entry="1-0", attempts=2), delivery("order.paid", entry="2-0"))
    ]
    filtered = filter_deliveries(handler(), replaced, domain="order")
    assert [("1-0", Outcome.COALESCED, 2, "9-0"), ("2-0", Outcome.IGNORED, 0, "")] == [
        (one.entry, one.outcome, one.attempt, one.into) for one in filtered.unwanted
    ]
    assert ([], {"test": "1-0"}) == (filtered.wanted, filtered.sources)


def test_the_sources_of_events_that_get_a_row_are_kept_with_an_entry() -> None:
    some = handler("order.placed", "order.paid", when=lambda event: event.type == "order.placed")
    given = {
        "wanted": delivery("order.placed", entry="1-0"),
        "skipped": delivery("order.paid", entry="2-0"),
        "ignored": delivery("order.other", entry="3-0"),
    }
    sources = {
        name: filter_deliveries(some, [one], domain="order").sources for name, one in given.items()
    }
    assert {"wanted": {"test": "1-0"}, "skipped": {"test": "2-0"}, "ignored": {}} == sources


@pytest.mark.parametrize(
    ("age_s", "delay_ms"), [(0, 1000), (9, 1000), (60, 6000), (300, 30_000), (86_400, 60_000)]
)
def test_newer_code_is_searched_for_after_a_tenth_of_the_age_of_the_entry(
    monkeypatch: pytest.MonkeyPatch, age_s: int, delay_ms: int
) -> None:
    clock = SimpleNamespace(time=lambda: 1_000_000 + age_s)
    monkeypatch.setattr("celeriac.dispatcher.message_filter.time", clock)
    assert delay_ms == until_other_code_ms("1000000000-0")


def test_a_pattern_is_retired_for_later_entries_and_not_for_one_of_its_millisecond() -> None:
    old = {"order.amended": 2000}
    entries = [delivery("order.amended", entry=f"{ms}-0") for ms in (1999, 2000, 2001)]
    unwanted = filter_deliveries(handler(), entries, (), old, domain="order").unwanted
    outcomes = [one.outcome for one in unwanted]
    assert [Outcome.SKIPPED, Outcome.SKIPPED, Outcome.IGNORED] == outcomes


@pytest.mark.parametrize(
    ("tenant", "expected"), [("acme", "wanted"), ("globex", "skipped"), (None, "skipped")]
)
def test_a_handler_of_some_tenants_needs_no_when(tenant: str | None, expected: str) -> None:
    options = HandlerOptions(name="take", tenants=["acme"])
    made = make_handler(fetch, ("order.placed",), options, service="billing")
    event = build_event("order.placed", None, source="test", id="e1", tenant=tenant)
    assert expected == outcome(made, Delivery("1-0", encode(event), 0))


class Panic(BaseException):
    """As a native extension raises it."""


def test_an_event_whose_when_panics_goes_to_the_executor() -> None:
    def panic(event: Event) -> bool:
        raise Panic

    assert "wanted" == outcome(handler(when=panic), delivery())


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_a_when_may_end_the_process(error: type[BaseException]) -> None:
    def end(event: Event) -> bool:
        raise error

    with pytest.raises(error):
        outcome(handler(when=end), delivery())


def test_what_only_newer_code_wants_is_requeued_and_not_completed() -> None:
    """In a rolling deployment the old worker must leave it to the new one."""
    newest = ("order.placed", "order.amended")
    deliveries = [delivery("order.amended"), delivery("order.shipped")]
    unwanted = filter_deliveries(handler(), deliveries, newest, domain="order").unwanted
    assert [one.outcome for one in unwanted] == [Outcome.REQUEUED, Outcome.IGNORED]
    addressed = delivery("order.amended", handlers=("shipping.pack",))
    (settled,) = filter_deliveries(handler(), [addressed], newest, domain="order").unwanted
    assert settled.outcome is Outcome.IGNORED


def test_events_of_a_pattern_that_went_out_of_force_are_skipped_and_so_recorded() -> None:
    deliveries = [delivery("order.amended"), delivery("order.shipped")]
    old = {"order.amended": 2000}
    unwanted = filter_deliveries(handler(), deliveries, (), old, domain="order").unwanted
    assert [one.outcome for one in unwanted] == [Outcome.SKIPPED, Outcome.IGNORED]
    (settled,) = filter_deliveries(
        handler(), deliveries[:1], (), {"order.amended": 0}, domain="order"
    ).unwanted
    assert settled.outcome is Outcome.IGNORED, "it came later"


@pytest.mark.parametrize("options", [{}, {"when": lambda event: True}, {"function": fetch}])
def test_an_event_of_another_domain_than_its_log_is_invalid(options: dict[str, Any]) -> None:
    """A service that may write to the log of `order` only must not have payments handled."""
    one = handler("payment.*", "order.*", **options)
    filtered = filter_deliveries(one, [delivery("payment.captured")], domain="order")
    ((entry, reason),) = filtered.invalid
    assert entry == "1-0"
    assert "does not belong to the domain 'order'" in reason
    assert (filtered.wanted, filtered.unwanted) == ([], [])


@pytest.mark.parametrize("signed", [False, True])
def test_when_does_not_decide_on_what_was_not_opened_or_verified_yet(signed: bool) -> None:
    """A False on ciphertext would lose the event. The executor asks once it opened it."""
    asked: list[Event] = []

    def when(event: Event) -> bool:
        asked.append(event)
        return False

    made = make_handler(
        fetch, ("order.placed",), HandlerOptions(when=when, signed=signed), service="billing"
    )
    event = build_event("order.placed", "a.b.c.d.e", source="test", id="e1")
    if not signed:
        event = msgspec.structs.replace(event, datacontenttype=ENCRYPTED)
    assert "wanted" == outcome(made, Delivery("1-0", encode(event), 0))
    assert [] == asked
