"""Emits that are written as rows, and what a row must have."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from celeriac import InvalidEvent, transaction
from celeriac.event import build_event, encode, event_key
from celeriac.event_log import EntryKind
from celeriac.outbox.cancellation import cancel_row, cancelled_key
from celeriac.outbox.event_log import AsyncOutboxEventLog, OutboxEventLog, outbox_event_log
from celeriac.outbox.write import row

NOW = 1_000_500
MADE = EntryKind.MADE


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: NOW / 1000)


def body(id: str, type: str = "order.placed") -> bytes:
    return encode(build_event(type, None, source="shop", id=id))


def written(id: str, domain: str, raw: bytes, at_ms: int | None = None) -> dict[str, Any]:
    return {
        "event_id": id, "domain": domain, "body": raw, "at_ms": at_ms, "created_ms": NOW,
    }  # fmt: skip


A, B = body("a"), body("b", "stock.low")


@pytest.mark.parametrize(
    ("delay_ms", "at_ms", "due_ms"),
    [(None, None, None), (0, None, NOW), (5, None, NOW + 5), (None, 7, 7), (None, 0, 0)],
)
def test_a_delay_begins_when_the_row_is_made(
    delay_ms: int | None, at_ms: int | None, due_ms: int | None
) -> None:
    assert written("a", "order", A, due_ms) == row("a", "order", A, delay_ms, at_ms)


def test_emits_are_rows() -> None:
    rows: list[Any] = []
    log = OutboxEventLog(rows.append)
    log.register_domains(["order"])
    log.note_emitted(["order.placed"])
    assert "" == log.append("order", A)
    assert 2 == log.append_many([("order", A, MADE, 0), ("stock", B, MADE, 0)])
    assert NOW + 5 == log.append_delayed("order", A, delay_ms=5, at_ms=None)
    assert 9 == log.append_delayed("order", A, delay_ms=None, at_ms=9)
    log.cancel("a", "order.placed", "shop")
    mark = b"cancel " + event_key("a", "shop").encode()
    assert [
        [written("a", "order", A)],
        [written("a", "order", A), written("b", "stock", B)],
        [written("a", "order", A, NOW + 5)],
        [written("a", "order", A, 9)],
        [written("a", "order", mark)],
    ] == rows


def test_emits_of_coroutines_are_the_same_rows() -> None:
    rows: list[Any] = []

    async def collect(each: Any) -> None:
        rows.append(each)

    async def main() -> None:
        log = AsyncOutboxEventLog(collect)
        await log.register_domains(["order"])
        log.note_emitted(["order.placed"])
        await log.append("order", A)
        await log.append_many([("order", A, MADE, 0), ("stock", B, MADE, 0)])
        await log.append_delayed("order", A, delay_ms=5, at_ms=None)
        await log.cancel("a", "order.placed", "shop")
        await log.close()

    asyncio.run(main())
    assert [
        [written("a", "order", A)],
        [written("a", "order", A), written("b", "stock", B)],
        [written("a", "order", A, NOW + 5)],
        [cancel_row("a", "order.placed", "shop")],
    ] == rows


@pytest.mark.parametrize(
    ("id", "type", "source", "message"),
    [
        ("", "order.placed", "shop", "`id`"),
        ("a", "order.placed", "", "`source`"),
        ("a", None, "shop", "cancel of a in a transaction: type is missing"),
        ("a", "order placed", "shop", "order placed"),
    ],
)
def test_a_row_that_cancels_needs_all_of_the_event(
    id: str, type: str | None, source: str, message: str
) -> None:
    with pytest.raises(InvalidEvent, match=message):
        cancel_row(id, type, source)


def test_only_rows_that_cancel_have_a_cancelled_key() -> None:
    cancels = cancel_row("a", "order.placed", "shop")
    assert event_key("a", "shop") == cancelled_key(cancels["body"])
    assert cancelled_key(A) is None


def test_an_open_transaction_of_django_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[Any] = []
    found: dict[str | None, Any] = {None: None, "other": rows.append}
    monkeypatch.setattr(transaction, "find", found.get)
    assert outbox_event_log(None, None) is None, "no transaction is open"
    log = outbox_event_log(None, "other")
    assert log is not None
    log.append("order", A)
    assert [[written("a", "order", A)]] == rows
