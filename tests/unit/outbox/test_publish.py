"""Publishing rows of the outbox, without a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError

from celeriac import BusUnavailable, EventBus, LogFull
from celeriac.event import build_event, decode, encode
from celeriac.event_log import Item
from celeriac.outbox.publish import Published, Publisher, WaitingRow
from celeriac.testing.store import Store


def rows(bus: EventBus, *types: str) -> list[WaitingRow]:
    events = [bus.event(type) for type in types]
    return [
        WaitingRow(n, event.id, event.domain, encode(event), None)
        for n, event in enumerate(events, 1)
    ]


def test_each_domain_of_the_rows_is_registered_once(
    bus: EventBus, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered: list[str] = []

    def register(domains: Sequence[str]) -> None:
        registered.extend(domains)

    monkeypatch.setattr(store.event_log, "register_domains", register)
    publisher = Publisher(bus.settings, store.event_log)
    for _ in range(2):
        published = publisher.publish(rows(bus, "order.placed", "order.paid", "parcel.sent"))
        assert [1, 2, 3] == published.done
    assert ["order", "parcel"] == registered


class ScriptedLog:
    """An event log that raises the next of `errors` at each append, unless it is None."""

    def __init__(self, *errors: Exception | None) -> None:
        self.errors = list(errors)
        self.happened: list[tuple[str, Any]] = []

    def _happen(self, what: str, given: Any) -> None:
        self.happened.append((what, given))
        error = self.errors.pop(0) if self.errors else None
        if error is not None:
            raise error

    def register_domains(self, domains: Sequence[str]) -> None:
        """Do nothing."""

    def append_many(self, items: Sequence[Item]) -> None:
        self._happen("append", [decode(body).id for _, body, *_ in items])

    def append_delayed(self, domain: str, body: bytes, *, at_ms: int, **_: Any) -> None:
        self._happen("delay", decode(body).id)

    def cancel_delayed(self, key: str, domains: Sequence[str]) -> None:
        self.happened.append(("cancel", key))

    def note_emitted(self, types: Sequence[str]) -> None:
        self.happened.append(("types", list(types)))


def row(number: int, type: str = "order.placed", **values: Any) -> WaitingRow:
    """Return a row whose event has its number as id."""
    event = build_event(type, None, source="shop", id=str(number))
    given = {"domain": event.domain, "body": encode(event), "at_ms": None, **values}
    return WaitingRow(number, event.id, **given)


def result(published: Published) -> tuple[list[int], list[int], list[str], bool]:
    return (
        published.done,
        [id for id, _ in published.failed],
        sorted(published.full),
        published.failure is not None,
    )


def appended(error: Exception, number: int) -> Exception:
    vars(error)["appended"] = number
    return error


def denied() -> Exception:
    return NoPermissionError("no permission")


def wrong_type() -> Exception:
    return redis.ResponseError("WRONGTYPE Operation against a key")


ORDER, STOCK = "order.placed", "stock.low"


@pytest.mark.parametrize(
    ("errors", "expected", "appends"),
    [
        ([], ([1, 2, 3, 4], [], [], False), ["1234"]),
        ([LogFull("full")], ([2, 4], [], ["order"], False), ["1234", "24"]),
        ([appended(LogFull("full"), 1)], ([1, 3], [], ["stock"], False), ["1234", "3"]),
        (
            [appended(LogFull("full"), 2), appended(LogFull("full"), 0)],
            ([1, 2], [], ["order", "stock"], False),
            ["1234", "4"],
        ),
        ([wrong_type()], ([2, 3, 4], [1], [], False), ["1234", "234"]),
        ([appended(denied(), 3)], ([1, 2, 3], [4], [], False), ["1234"]),
        ([appended(denied(), 1), denied()], ([1, 4], [2, 3], [], False), ["1234", "34", "4"]),
        ([redis.ConnectionError("away")], ([], [], [], True), ["1234"]),
        ([appended(redis.ConnectionError("away"), 2)], ([1, 2], [], [], True), ["1234"]),
    ],
)
def test_a_refused_row_delays_only_what_must_follow_it(
    bus: EventBus, errors: list[Exception], expected: Any, appends: list[str]
) -> None:
    log: Any = ScriptedLog(*errors)
    published = Publisher(bus.settings, log).publish([row(1), row(2, STOCK), row(3), row(4, STOCK)])
    assert expected == result(published)
    assert appends == ["".join(ids) for what, ids in log.happened if what == "append"]
    types = {1: ORDER, 2: STOCK, 3: ORDER, 4: STOCK}
    assert ("types", [types[id] for id in published.done]) == log.happened[-1]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (None, ([3, 1, 2], [], [], False)),
        (LogFull("full"), ([3], [], ["order"], False)),
        (wrong_type(), ([3, 2], [1], [], False)),
        (redis.ConnectionError("away"), ([3], [], [], True)),
    ],
)
def test_delayed_rows_follow_in_order(
    bus: EventBus, error: Exception | None, expected: Any
) -> None:
    log: Any = ScriptedLog(None, error)
    rows = [row(1, at_ms=5), row(2, at_ms=0), row(3, STOCK)]
    assert expected == result(Publisher(bus.settings, log).publish(rows))


def test_a_row_that_cancels_has_no_type_and_follows_what_it_cancels(bus: EventBus) -> None:
    log: Any = ScriptedLog()
    publisher = Publisher(bus.settings, log)
    publisher.publish([row(7)])
    log.happened.clear()
    rows = [row(6, at_ms=5), row(7, at_ms=5, cancels="key"), row(8)]
    assert [8, 6, 7] == publisher.publish(rows).done
    assert [
        ("append", ["8"]), ("delay", "6"), ("cancel", "key"), ("types", [ORDER, ORDER]),
    ] == log.happened  # fmt: skip


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"body": b"{"}, "InvalidEvent: "),
        ({"domain": "stock"}, "has the domain order, but its row has stock"),
    ],
)
def test_an_invalid_row_is_failed_and_not_published(
    bus: EventBus, bad: dict[str, Any], message: str
) -> None:
    log: Any = ScriptedLog()
    published = Publisher(bus.settings, log).publish([row(1, **bad), row(2)])
    assert ([2], [1], [], False) == result(published)
    assert message in published.failed[0][1]


def test_the_size_limit_is_inclusive(bus: EventBus) -> None:
    size = len(row(1).body)
    for limit, done in ((size, [1]), (size - 1, [])):
        settings = replace(bus.settings, max_event_bytes=limit)
        log: Any = ScriptedLog()
        published = Publisher(settings, log).publish([row(1)])
        assert done == published.done
        assert done or "EventTooLarge: order.placed 1 is" in published.failed[0][1]


def test_a_failure_has_the_address_and_was_tried_once(bus: EventBus) -> None:
    log: Any = ScriptedLog(redis.ConnectionError("away"))
    failure = Publisher(bus.settings, log).publish([row(1)]).failure
    assert isinstance(failure, BusUnavailable)
    assert "127.0.0.1:1" in str(failure) and "tries" not in str(failure)


def test_a_reason_is_bounded(bus: EventBus) -> None:
    log: Any = ScriptedLog(NoPermissionError("x" * 2000))
    [(_, reason)] = Publisher(bus.settings, log).publish([row(1)]).failed
    assert 1000 == len(reason)


class Barrier:
    """A barrier that fails at `fails`."""

    def __init__(self, log: ScriptedLog, fails: str = "") -> None:
        self._log, self._fails = log, fails

    def begin(self) -> str:
        self._happen("begin", "run 1")
        return "run 1"

    def end(self, run: str) -> None:
        self._happen("end", run)

    def _happen(self, what: str, run: str) -> None:
        self._log.happened.append((what, run))
        if what == self._fails:
            raise BusUnavailable(what)


@pytest.mark.parametrize(
    ("fails", "errors", "expected", "happened"),
    [
        ("", [], ([1], [], [], False), ["begin", "append", "end", "types"]),
        ("begin", [], ([], [], [], True), ["begin", "types"]),
        ("end", [], ([], [], [], True), ["begin", "append", "end", "types"]),
        (
            "",
            [appended(redis.ConnectionError("away"), 1)],
            ([1], [], [], True),
            ["begin", "append", "end", "types"],
        ),
        ("", [wrong_type()], ([], [1], [], False), ["begin", "append", "types"]),
    ],
)
def test_rows_are_done_once_they_are_on_disk(
    bus: EventBus, fails: str, errors: list[Exception], expected: Any, happened: list[str]
) -> None:
    log: Any = ScriptedLog(*errors)
    publisher = Publisher(bus.settings, log)
    barrier: Any = Barrier(log, fails)
    publisher._fsync = barrier
    assert expected == result(publisher.publish([row(1)]))
    assert happened == [what for what, _ in log.happened]
    assert {"run 1"} >= {given for what, given in log.happened if what == "end"}


def test_columns_become_a_row() -> None:
    body = memoryview(b"cancel key")
    assert WaitingRow(7, "a", "order", b"cancel key", 5, "key") == WaitingRow.of(
        ("7", "a", "order", body, "5")
    )
    assert WaitingRow(7, "a", "order", b"{}", None, None) == WaitingRow.of(
        (7, "a", "order", b"{}", None)
    )
