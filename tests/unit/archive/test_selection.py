from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pytest

from celeriac import EventBus
from celeriac.archive.row import batch_of, row_of
from celeriac.archive.selection import COUNTED, Selection
from celeriac.event import Event, compile_patterns, decode, encode, read_header
from celeriac.event.signature import split
from celeriac.security import make_signer, make_verifier
from celeriac.security.generate import generate
from celeriac.settings import Settings

HANDLER = "billing.charge"
BUS = EventBus(service="orders")
FOREIGN = b'{"type":"order.placed", "specversion":"1.0","source":"go","id":"7","data":{"n":1.50}}'
MS = 1_764_255_600_000


def selection(*patterns: str, since_ms: int = 0, until_ms: int = MS + 1000) -> Selection:
    matchers = tuple(compile_patterns(pattern) for pattern in patterns or ("#",))
    return Selection(handler=HANDLER, matchers=matchers, since_ms=since_ms, until_ms=until_ms)


def batch(*bodies: bytes) -> pa.RecordBatch:
    return batch_of([row_of(f"{MS + n}-0", body) for n, body in enumerate(bodies)])


def event(type: str = "order.placed", **given: Any) -> bytes:
    return encode(BUS.event(type, given.pop("data", {"n": 1}), **given))


def only(body: bytes) -> bytes:
    [delivery] = selection().deliveries(batch(body))
    assert (f"{MS}-0", read_header(body).key) == (delivery.entry, delivery.event_key)
    return delivery.addressed


@pytest.mark.parametrize(
    "given",
    [
        {"data": {"n": 1, "text": "é\u2028"}, "subject": "order/42", "partitionkey": "a"},
        {"data": b"\x00\xff"},
        {"data": None, "extensions": {"region": "acme"}},
        {"time": datetime(2026, 11, 27, 1, 2, 3, 400, tzinfo=UTC), "sensitive": ["card"]},
        {"handlers": [HANDLER, "mail.greet"]},
        {"tenant": "acme"},
    ],
)
def test_an_event_differs_only_in_its_handlers(given: dict[str, Any]) -> None:
    body = event(**given)
    before, after = decode(body), decode(only(body))
    assert (HANDLER,) == after.handlers
    named: list[Event[Any]] = [before, after]
    assert 1 == len({_without_handlers(e) for e in named})


def test_json_of_another_producer_is_addressed() -> None:
    after = decode(only(FOREIGN))
    assert ("7", "go", (HANDLER,)) == (after.id, after.source, after.handlers)
    assert {"n": 1.5} == json.loads(bytes(after.data or b""))


def test_a_signature_stays_valid() -> None:
    private, public = (json.dumps(key) for key in generate("orders-1", sources=["orders"]))
    signer = make_signer(Settings.load({}, service="orders", signing_key=private))
    assert signer is not None
    body = signer.sign(event())
    after = only(body)
    before, signed = split(body), split(after)
    assert before is not None and before == signed
    verifier = make_verifier(Settings.load({}, service="billing", trusted_keys=public))
    header = read_header(after)
    assert (HANDLER,) == header.handlers
    verifier(after, header, "order")


def test_events_of_other_handlers_types_and_times_are_left_out() -> None:
    bodies = [
        event("order.placed"), event("order.cancelled"), event(handlers=["mail.greet"]),
        event(), b"\xff not an event", event("payment.taken"),
    ]  # fmt: skip
    chosen = selection("order.*", since_ms=MS + 1, until_ms=MS + 4)
    assert [f"{MS + 1}-0", f"{MS + 3}-0"] == [d.entry for d in chosen.deliveries(batch(*bodies))]
    assert {"order.cancelled": 1, "order.placed": 1} == chosen.count(
        batch(*bodies).select(list(COUNTED))
    )


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (("#",), ["order", "payment"]),
        (("order.*",), ["order"]),
        (("#", "payment.taken"), ["payment"]),
        (("order.*", "payment.*"), []),
    ],
)
def test_only_domains_that_all_patterns_reach_are_read(
    patterns: tuple[str, ...], expected: list[str]
) -> None:
    assert expected == selection(*patterns).domains(["payment", "order"])


def _without_handlers(event: Event[Any]) -> bytes:
    body = json.loads(encode(event))
    body.pop("handlers", None)
    return json.dumps(body, sort_keys=True).encode()


def test_events_of_one_tenant_are_selected_and_counted() -> None:
    bodies = [event(tenant="acme"), event(tenant="globex"), event(), event("a.b", tenant="acme")]
    of_acme = replace(selection("order.*"), tenant="acme")
    [delivery] = of_acme.deliveries(batch(*bodies))
    assert f"{MS}-0" == delivery.entry
    assert {"order.placed": 1} == of_acme.count(batch(*bodies).select(COUNTED))
    assert {"order.placed": 3} == selection("order.*").count(batch(*bodies).select(COUNTED))
