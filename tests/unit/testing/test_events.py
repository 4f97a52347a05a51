"""Events for direct calls of a handler."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import pytest
from pydantic import BaseModel

from celeriac import Event, InvalidData, InvalidEvent
from celeriac.testing import make_event

AT = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Placed:
    number: int
    at: datetime


class Paid(msgspec.Struct):
    number: int


class Sent(BaseModel):
    number: int


@pytest.mark.parametrize("data", [Placed(1, AT), Paid(1), Sent(number=1)])
def test_a_model_comes_back_as_itself(data: object) -> None:
    event = make_event("order.placed", data)
    assert data == event.data and data is not event.data


def test_plain_data_is_read_as_the_model() -> None:
    event = make_event("order.placed", {"number": 1, "at": "2026-01-01T00:00:00Z"}, model=Placed)
    assert Placed(1, AT) == event.data


def test_plain_data_is_as_it_is_on_the_wire() -> None:
    assert {"at": "2026-01-01T00:00:00Z", "t": [1]} == make_event("a.b", {"at": AT, "t": (1,)}).data
    assert make_event("a.b").data is None
    assert b"\x00" == make_event("a.b", b"\x00").data


def test_attributes_are_those_of_emit() -> None:
    event = make_event("a.b", 1, id="e1", subject="order/1", correlationid="chain")
    assert ("e1", "order/1", "chain", "test") == (
        event.id, event.subject, event.correlationid, event.source
    )  # fmt: skip


def test_what_could_not_arrive_is_refused() -> None:
    with pytest.raises(InvalidData, match="does not fit Paid"):
        make_event("a.b", {"number": "one"}, model=Paid)
    with pytest.raises(InvalidEvent):
        make_event("a..b")


def test_a_handler_is_a_function_like_any_other() -> None:
    def charge(event: Event[Paid]) -> int:
        return event.data.number

    assert 7 == charge(make_event("order.placed", Paid(7)))
