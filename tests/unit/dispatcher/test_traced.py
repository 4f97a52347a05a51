"""A span for each delivery task that is sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from celeriac.dispatcher import Chunk
from celeriac.dispatcher.chunk import Item
from celeriac.dispatcher.traced import traced
from celeriac.event import EventHeader
from celeriac.settings import Settings
from tests.unit.dispatcher.groups import make_group


def test_without_tracing_the_task_is_sent_as_it_is() -> None:
    def send(chunk: Chunk) -> None: ...

    assert send is traced(send, Settings.load({}))


def test_with_tracing_the_task_is_sent_within_a_span_of_its_handler_and_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[Any] = []

    class Tracing:
        @contextmanager
        def dispatch(self, handler: str, events: Sequence[EventHeader]) -> Iterator[None]:
            calls.append((handler, [event.id for event in events]))
            yield
            calls.append("end")

    monkeypatch.setattr("celeriac.dispatcher.traced.tracing_of", lambda settings: Tracing())
    state = make_group("order")
    events = [EventHeader(id=f"e{n}", source="s", type="order.placed") for n in (1, 2)]
    items = tuple(Item("1-0", 0, event) for event in events)
    chunk = Chunk(state.handler, state.group, items)
    traced(calls.append, Settings.load({}))(chunk)
    assert [("billing.charge", ["e1", "e2"]), chunk, "end"] == calls
