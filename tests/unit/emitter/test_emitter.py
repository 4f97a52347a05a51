"""emit: refused events, delayed events, registered domains and retries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import redis
from redis.exceptions import BusyLoadingError, OutOfMemoryError

from celeriac import (
    BusUnavailable,
    Event,
    EventBus,
    EventTooLarge,
    InvalidData,
    InvalidEvent,
    LogFull,
)
from celeriac.emitter.emitter import PIPELINE
from celeriac.event import decode, encode, masked, new_event_ids
from celeriac.event_log import EntryKind, SyncLogAdapter
from celeriac.event_log.delayed import when_ms
from celeriac.service import Service
from celeriac.settings import Settings
from celeriac.testing.store import Store


def emit_many(bus: EventBus, events: Any, asynchronous: bool) -> int:
    return asyncio.run(bus.aemit_many(events)) if asynchronous else bus.emit_many(events)


def emit(bus: EventBus, asynchronous: bool, *args: Any, **kwargs: Any) -> str:
    if asynchronous:
        return asyncio.run(bus.aemit(*args, **kwargs))
    return bus.emit(*args, **kwargs)


MADE, GIVEN = EntryKind.MADE, EntryKind.GIVEN
both = pytest.mark.parametrize("asynchronous", [False, True], ids=["emit", "aemit"])


@both
def test_an_event_enters_the_log_of_its_domain(
    bus: EventBus, store: Store, asynchronous: bool
) -> None:
    assert "a" == emit(bus, asynchronous, "order.placed", {"n": 1}, id="a", subject="order/1")
    (emitted,) = store.event_log.emitted
    assert ("a", "billing", {"n": 1}) == (
        emitted.event.id,
        emitted.event.source,
        emitted.event.data,
    )
    assert 1 == store.event_log.length("order")
    assert {"order"} == store.event_log.domains()


@both
def test_an_event_of_emit_is_checked_once(
    bus: EventBus, store: Store, asynchronous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks: list[str] = []
    monkeypatch.setattr("celeriac.event.build.validate", lambda event: checks.append("build"))

    def recording_encode(event: Event, *, valid: bool, **options: Any) -> bytes:
        checks.extend([] if valid else ["encode"])
        return encode(event, valid=valid, **options)

    monkeypatch.setattr("celeriac.emitter.emitter.encode", recording_encode)
    emit(bus, asynchronous, "order.placed", {"n": 1})
    assert checks == []  # `plain_event` checks what it takes
    emit(bus, asynchronous, "order.placed", {"n": 1}, subject="order/1")
    assert checks == ["build"]


def kinds(store: Store) -> list[EntryKind]:
    return [entry.kind for entry in store.event_log.read("order")]


@both
def test_an_entry_shows_whether_emit_made_its_id(
    bus: EventBus, store: Store, asynchronous: bool
) -> None:
    emit(bus, asynchronous, "order.placed")
    emit(bus, asynchronous, "order.placed", id="a")
    event = bus.event("order.placed")
    pair, mapping = ("order.placed", 1), {"type": "order.placed", "data": 1}
    emit_many(bus, [event, pair, mapping, {**mapping, "id": "b"}], asynchronous)
    assert [MADE, GIVEN, GIVEN, MADE, MADE, GIVEN] == kinds(store)


@both
@pytest.mark.parametrize(
    ("error", "kind"),
    [(redis.ConnectionError("gone"), GIVEN), (BusyLoadingError(), MADE)],
    ids=["may be written", "is not written"],
)
def test_a_second_try_of_what_may_be_written_is_marked(
    bus: EventBus, store: Store, asynchronous: bool, error: Exception, kind: EntryKind
) -> None:
    errors = iter([error])

    def fail() -> None:
        if found := next(errors, None):
            raise found

    store.event_log.before_emit = fail
    emit(bus, asynchronous, "order.placed")
    assert [kind] == kinds(store)


@both
def test_what_is_over_the_limit_is_not_sent(asynchronous: bool) -> None:
    bus = EventBus(service="billing", max_event_bytes=300)
    store = Store(bus.settings)
    with store.installed(), pytest.raises(EventTooLarge, match="CELERIAC_MAX_EVENT_BYTES"):
        emit(bus, asynchronous, "order.placed", "x" * 300)
    assert [] == store.event_log.emitted


@both
def test_a_delay_puts_it_off(bus: EventBus, store: Store, asynchronous: bool) -> None:
    emit(bus, asynchronous, "order.placed", delay=1.5)
    emit(bus, asynchronous, "order.placed", at=datetime(2100, 1, 1, tzinfo=UTC))
    assert (0, 2) == (store.event_log.length("order"), store.event_log.delayed("order"))
    assert [(1500, None), (None, 4102444800000)] == [
        (one.delay_ms, one.at_ms) for one in store.event_log.emitted
    ]


@pytest.mark.parametrize(
    ("delay", "at", "wanted"),
    [
        (None, None, (None, None)),
        (0, None, (0, None)),
        (2.5, None, (2500, None)),
        (timedelta(minutes=1), None, (60_000, None)),
        (None, datetime(1970, 1, 2, tzinfo=UTC), (None, 86_400_000)),
    ],
)
def test_when_is_counted_in_ms(delay: Any, at: Any, wanted: Any) -> None:
    assert wanted == when_ms(delay, at)


@pytest.mark.parametrize(
    ("delay", "at", "reason"),
    [
        (1, datetime(2100, 1, 1, tzinfo=UTC), "exclude each other"),
        (None, datetime(2100, 1, 1), "with a timezone"),
        (None, 1.5, "with a timezone"),
        ("5", None, "must be a timedelta or a finite number of seconds, at least 0"),
        (-1, None, "must be a timedelta or a finite number of seconds, at least 0"),
        (float("nan"), None, "must be a timedelta or a finite number of seconds, at least 0"),
        (float("inf"), None, "must be a timedelta or a finite number of seconds, at least 0"),
    ],
)
def test_an_impossible_time_is_refused(delay: Any, at: Any, reason: str) -> None:
    with pytest.raises(InvalidEvent, match=reason):
        when_ms(delay, at)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_swapped_type_and_data_are_named(asynchronous: bool) -> None:
    bus = EventBus(redis_url="redis://127.0.0.1:1/0")
    with pytest.raises(InvalidEvent, match="must be a string, got dict"):
        emit(bus, asynchronous, {"n": 1}, "order.placed")
    with pytest.raises(InvalidEvent, match="must be a string, got list"):
        emit_many(bus, [(["order.placed"], None)], asynchronous)


class FlakyLog:
    """Wraps the event log of a store, and fails as Redis does."""

    def __init__(self, store: Store, failures: list[Exception | None]) -> None:
        self.store = store
        self.failures = iter(failures)
        self.announced: list[list[str]] = []
        self.batches: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store.event_log, name)

    def register_domains(self, domains: Any) -> None:
        self.announced.append(list(domains))
        self.store.event_log.register_domains(domains)

    def append_many(self, items: Any) -> int:
        self.batches.append(len(items))
        error = next(self.failures, None)
        if error is not None:
            self.store.event_log.append_many(items[: getattr(error, "appended", 0)])
            raise error
        return self.store.event_log.append_many(items)


def failing(error: Exception, after: int) -> Exception:
    error.appended = after  # type: ignore[attr-defined]
    return error


def flaky(bus: EventBus, store: Store, *failures: Exception | None) -> FlakyLog:
    event_log = FlakyLog(store, list(failures))
    like: Any = event_log
    Service.override = replace(store.backend, event_log=like, async_event_log=SyncLogAdapter(like))
    return event_log


@both
def test_a_domain_is_announced_once(bus: EventBus, store: Store, asynchronous: bool) -> None:
    event_log = flaky(bus, store)
    for _ in range(3):
        emit(bus, asynchronous, "order.placed")
    emit(bus, asynchronous, "payment.failed")
    assert [["order"], ["payment"]] == event_log.announced


@both
def test_another_log_gets_the_domain_too(bus: EventBus, asynchronous: bool) -> None:
    stores = [Store(bus.settings), Store(bus.settings)]
    for store in stores:
        with store.installed():
            emit(bus, asynchronous, "order.placed")
    assert [{"order"}, {"order"}] == [store.event_log.domains() for store in stores]


@both
def test_many_go_in_pipelines_and_in_order(bus: EventBus, store: Store, asynchronous: bool) -> None:
    event_log = flaky(bus, store)
    events = (("order.placed", n) for n in range(PIPELINE + 1))
    assert PIPELINE + 1 == emit_many(bus, events, asynchronous)
    assert [PIPELINE, 1] == event_log.batches
    assert list(range(PIPELINE + 1)) == [one.event.data for one in store.event_log.emitted]


@both
def test_only_the_rest_is_tried_again(bus: EventBus, store: Store, asynchronous: bool) -> None:
    event_log = flaky(bus, store, failing(redis.ConnectionError("gone"), 3))
    assert 5 == emit_many(bus, [("order.placed", n) for n in range(5)], asynchronous)
    assert [5, 2] == event_log.batches
    assert [0, 1, 2, 3, 4] == [one.event.data for one in store.event_log.emitted]
    assert [MADE, MADE, MADE, GIVEN, GIVEN] == kinds(store)


@both
@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        (OutOfMemoryError("OOM command not allowed"), LogFull),
        (redis.AuthenticationError("WRONGPASS"), BusUnavailable),
    ],
)
def test_a_failure_counts_what_was_published(
    bus: EventBus, store: Store, asynchronous: bool, error: Exception, wanted: type[LogFull]
) -> None:
    flaky(bus, store, None, failing(error, 7))
    with pytest.raises(wanted) as caught:
        emit_many(bus, [("order.placed", n) for n in range(PIPELINE + 50)], asynchronous)
    assert PIPELINE + 7 == caught.value.emitted


@both
def test_an_invalid_event_in_the_middle_counts_what_was_published(
    bus: EventBus, store: Store, asynchronous: bool
) -> None:
    def events() -> Iterator[Any]:
        yield from (("order.placed", n) for n in range(PIPELINE + 3))
        yield ("order..placed", None)

    with pytest.raises(InvalidEvent) as caught:
        emit_many(bus, events(), asynchronous)
    assert PIPELINE == caught.value.emitted == len(store.event_log.emitted)


@both
def test_each_form_of_an_event_is_taken(bus: EventBus, store: Store, asynchronous: bool) -> None:
    given: list[Any] = [
        ("order.placed", 1),
        bus.event("order.paid", 2, id="b"),
        {"type": "order.sent", "data": 3, "subject": "order/1"},
    ]
    assert 3 == emit_many(bus, given, asynchronous)
    assert ["order.placed", "order.paid", "order.sent"] == [
        one.event.type for one in store.event_log.emitted
    ]


@both
@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (3, "cannot emit int"),
        (("a.b", 1, 2), "cannot emit tuple"),
        ({"type": "a.b", "delay": 3}, "Call emit"),
    ],
)
def test_another_form_is_refused(
    bus: EventBus, store: Store, asynchronous: bool, given: Any, reason: str
) -> None:
    with pytest.raises(InvalidEvent, match=reason):
        emit_many(bus, [given], asynchronous)


def test_an_async_iterable_is_taken(bus: EventBus, store: Store) -> None:
    async def events() -> AsyncIterator[tuple[str, int]]:
        for n in range(3):
            yield ("order.placed", n)

    assert 3 == asyncio.run(bus.aemit_many(events()))


def test_declared_data_is_checked_before_it_is_sent(bus: EventBus, store: Store) -> None:
    bus.declare("order.placed", dict[str, int])
    with pytest.raises(InvalidData, match=r"order\.placed does not fit"):
        bus.emit("order.placed", {"n": "text"})
    assert [] == store.event_log.emitted
    bus.emit("order.placed", {"n": 1})


def test_settings_without_redis_name_a_sender() -> None:
    assert "billing" == Settings.load({}, service="billing").source


def test_an_emitter_with_the_setting_sensitive_marks_its_events() -> None:
    """They are masked even if a reader has no such setting."""
    bus = EventBus(service="orders", sensitive="card, i.ban")
    event = bus.event("order.placed", {"card": "4111", "deep": [{"card": 1, "i.ban": 2}], "n": 3})
    assert event.sensitive == "**.card,**.i%2Eban"
    shown = masked(decode(encode(event)))
    assert shown == {"card": "***", "deep": [{"card": "***", "i.ban": "***"}], "n": 3}
    more = bus.event("order.placed", {"pin": 1}, sensitive=["pin"])
    assert (more.sensitive or "").split(",") == ["**.card", "**.i%2Eban", "pin"]
    pair = bus.emitter.as_event(("order.placed", {"card": 1}), new_event_ids(1))
    assert pair.sensitive == "**.card,**.i%2Eban"
