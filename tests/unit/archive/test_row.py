from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import EventBus
from celeriac.archive.row import SCHEMA, batch_of, events_of, row_of
from celeriac.event import encode, is_signed
from celeriac.security import make_signer
from celeriac.security.generate import generate
from celeriac.settings import Settings

ENTRY = "1764255600000-3"
BUS = EventBus(service="orders")
FOREIGN = b'{"type":"order.placed", "specversion":"1.0","source":"go","id":"7","data":{"n":1.50}}'


def back(body: bytes) -> bytes:
    [event] = events_of(batch_of([row_of(ENTRY, body)]))
    assert ENTRY == event.entry
    return event.body


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"data": {"n": 1, "text": "é\u2028"}},
        {"data": b"\x00\xff"},
        {"data": None, "subject": "order/42", "partitionkey": "a"},
        {"handlers": ["billing.charge", "mail.greet"]},
        {"extensions": {"region": "acme"}},
        {"time": datetime(2026, 11, 27, 1, 2, 3, 400, tzinfo=UTC), "sensitive": ["card"]},
    ],
    ids=str,
)
def test_an_emitted_event_is_rebuilt_from_its_columns(given: dict[str, Any]) -> None:
    body = encode(BUS.event("order.placed", **given))
    assert "body" not in row_of(ENTRY, body)
    assert body == back(body)


@pytest.mark.parametrize(
    "body",
    [
        FOREIGN,
        b"\xff not an event",
        b"",
        b'{"specversion":"1.0","id":"1","source":"a","type":"order.placed",'
        b'"time":"2026-11-27T00:00:00.123456789Z"}',
        encode(BUS.event("order.placed", extensions={"attempt": 5, "urgent": True})),
    ],
    ids=range(5),
)
def test_what_has_another_form_is_kept_byte_by_byte(body: bytes) -> None:
    assert body == row_of(ENTRY, body)["body"] == back(body)


def test_the_columns_of_a_foreign_event_are_filled_too() -> None:
    row = row_of(ENTRY, FOREIGN)
    assert ("go", "7", '{"n":1.50}') == (row["source"], row["id"], row["data"])


def test_a_signed_event_keeps_its_signature() -> None:
    secret, _ = generate("orders")
    settings = Settings.load({}, service="orders", signing_key=json.dumps(secret))
    signer = make_signer(settings)
    assert signer is not None
    body = signer.sign(encode(BUS.event("order.placed", {"n": 1})))
    assert is_signed(body)
    assert body == back(body)


def test_extensions_are_texts() -> None:
    body = encode(BUS.event("order.placed", extensions={"attempt": 5, "region": "acme"}))
    [row] = batch_of([row_of(ENTRY, body)]).to_pylist()
    assert {"attempt": "5", "region": "acme"} == dict(row["extensions"])


def test_the_schema_has_every_attribute_of_an_event() -> None:
    attributes = set(BUS.event("order.placed").__struct_fields__)
    assert set() == attributes - set(SCHEMA.names)


@given(st.binary(max_size=300))
def test_any_bytes_come_back(body: bytes) -> None:
    assert body == back(body)
