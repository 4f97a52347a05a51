"""The official test vectors of the CloudEvents HTTP protocol binding, sent to a gateway."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from celeriac import EventBus
from celeriac.event.http_message import BATCH, STRUCTURED
from celeriac.gateway import Token, gateway
from celeriac.testing.store import Store
from tests.unit.event.test_conformance import BATCHES, EVENTS, PAIRS, SCENARIOS, message, readable
from tests.unit.gateway.conftest import AUTHORIZED, SECRET, ask


def stored(bus: EventBus, store: Store, source: str, headers: Any, body: bytes) -> list[Any]:
    """The events that the gateway appends for a message."""
    app = gateway(bus, tokens=[Token("vectors", SECRET, ["#"], source)])
    answer = ask(app, "POST", "/events", headers={**AUTHORIZED, **headers}, content=body)
    assert answer.status_code == 202, answer.text
    domains = sorted(store.event_log.domains())
    entries = [entry for domain in domains for entry in store.event_log.read(domain)]
    return [json.loads(entry.body or b"") for entry in entries]


@pytest.mark.parametrize(("name", "content_type", "text"), SCENARIOS)
def test_a_scenario_of_the_conformance_project(
    bus: EventBus, store: Store, name: str, content_type: str, text: str
) -> None:
    request, expected = re.findall(r'"""\n(.*?)"""', text, re.S)
    table = dict(re.findall(r"^\s*\|\s*(\w+)\s*\|\s*(.*?)\s*\|\s*$", text, re.M))
    (event,) = stored(bus, store, table["source"], *message(request))
    shown = {key: value for key, value in table.items() if key != "key"}
    assert shown == {key: event[key] for key in shown}
    assert json.loads(expected) == event["data"]


@pytest.mark.parametrize("event", EVENTS, ids=range(len(EVENTS)))
def test_an_example_in_structured_mode(bus: EventBus, store: Store, event: dict[str, Any]) -> None:
    headers = {"content-type": STRUCTURED}
    (written,) = stored(bus, store, event["source"], headers, json.dumps(event).encode())
    assert {key: value for key, value in event.items() if value is not None} == written


@pytest.mark.parametrize(("structured", "binary"), PAIRS, ids=range(len(PAIRS)))
def test_an_example_in_binary_mode(
    bus: EventBus, store: Store, structured: str, binary: str
) -> None:
    event = readable(json.loads(structured))
    headers, body = message(binary)
    (written,) = stored(bus, store, event["source"], headers, body)
    core = ("id", "source", "type", "subject", "time")
    assert {name: event.get(name) for name in core} == {name: written.get(name) for name in core}


@pytest.mark.parametrize("batch", BATCHES, ids=len)
def test_an_example_of_a_batch(bus: EventBus, store: Store, batch: list[dict[str, Any]]) -> None:
    sources = {event["source"] for event in batch} or {"none"}
    for source in sources:
        own = [event for event in batch if event["source"] == source]
        before = sum(len(store.event_log.read(d)) for d in store.event_log.domains())
        written = stored(bus, store, source, {"content-type": BATCH}, json.dumps(own).encode())
        assert len(written) == before + len(own)
