"""What a schedule may be."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from celeriac import ConfigurationError, InvalidEvent
from celeriac.schedule import make_schedule
from celeriac.schedule.store import decode_state, encode_state


def test_its_name_is_the_type_and_its_events_have_ids_of_their_ticks() -> None:
    schedule = make_schedule("report.due", service="reports", every=timedelta(minutes=5))
    assert (schedule.name, schedule.domain, schedule.every_ms) == ("report.due", "report", 300_000)
    assert schedule.event_id(1_795_000_200_000) == "reports:report.due@2026-11-18T11:10:00Z"
    assert schedule.event_id(1_795_000_200_250).endswith("@2026-11-18T11:10:00.250Z")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "give either cron= or every="),
        ({"every": 5, "cron": "* * * * *"}, "give either cron= or every="),
        ({"every": 0.5}, "every=0.5: must be at least 1 second"),
        ({"every": True}, "must be at least 1 second"),
        ({"every": "5"}, "must be at least 1 second"),
        ({"every": float("nan")}, "must be at least 1 second"),
        ({"every": 5, "missed": "some"}, "missed='some': must be 'last', 'none' or 'all'"),
        ({"every": 5, "name": ""}, "name must be printable text without a colon"),
        ({"every": 5, "name": "a:b"}, "without a colon"),
        ({"every": 5, "name": "a" * 240}, "Give a shorter name="),
        ({"cron": "x"}, "bus.schedule for 'report.due': cron='x': Wrong number of fields"),
    ],
)
def test_a_wrong_argument_is_refused_with_the_remedy(given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_schedule("report.due", service="reports", **given)
    assert says in str(caught.value)


def test_a_wrong_type_is_refused() -> None:
    with pytest.raises(InvalidEvent):
        make_schedule("report due", service="reports", every=5)


def test_a_record_is_read_as_it_is_written() -> None:
    schedule = make_schedule("report.due", service="reports", cron="0 6 * * *", missed="all")
    stored = decode_state("reports:report.due", encode_state(20, 10, 3, 7, schedule.definition))
    assert (stored.next_ms, stored.last_ms, stored.fired, stored.dropped) == (20, 10, 3, 7)
    assert (stored.cron, stored.tz, stored.missed) == ("0 6 * * *", "UTC", "all")
    assert stored.last_event_id == "reports:report.due@1970-01-01T00:00:00.010Z"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("reports:report.due", b""),
        ("reports:report.due", b"1 2 3\n{}"),
        ("reports:report.due", b"1 2 3 4\n{}"),
        ("reports:report.due", b"\xff 2 3 4\n{}"),
        ("other:report.due", None),
        ("reports:report.due", b"9999999999999999 0 0 0\n"),
    ],
)
def test_a_record_that_is_none_is_refused(field: str, value: bytes | None) -> None:
    schedule = make_schedule("report.due", service="reports", every=5)
    if value is None or value.endswith(b"0\n"):
        value = (value or b"1 0 0 0\n") + schedule.definition
    with pytest.raises((ValueError, TypeError)):
        decode_state(field, value)
