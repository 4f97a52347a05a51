"""The times of a schedule, also where the clocks of a zone are changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac import ConfigurationError
from celeriac.schedule.ticks import CronTicks, EveryTicks, Ticks, cron_ticks

BERLIN = "Europe/Berlin"


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def local(ticks: Ticks, after: str, count: int, tz: str = BERLIN) -> list[str]:
    at, found = ms(after), []
    for _ in range(count):
        at = ticks.next_after(at)
        found.append(datetime.fromtimestamp(at / 1000, ZoneInfo(tz)).isoformat())
    return found


def test_a_daily_tick_keeps_its_hour_across_daylight_saving() -> None:
    ticks = cron_ticks("0 6 * * *", BERLIN)
    assert local(ticks, "2026-10-23T12:00+02:00", 3) == [
        "2026-10-24T06:00:00+02:00",
        "2026-10-25T06:00:00+01:00",
        "2026-10-26T06:00:00+01:00",
    ]


def test_a_time_that_is_skipped_in_spring_comes_right_after() -> None:
    ticks = cron_ticks("30 2 * * *", BERLIN)
    assert local(ticks, "2026-03-28T12:00+01:00", 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


def test_a_time_that_is_there_twice_in_autumn_comes_once() -> None:
    ticks = cron_ticks("30 2 * * *", BERLIN)
    assert local(ticks, "2026-10-24T12:00+02:00", 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_every_half_hour_continues_evenly_through_both_changes() -> None:
    ticks = cron_ticks("*/30 * * * *", BERLIN)
    for day in ("2026-03-29T00:00+01:00", "2026-10-25T00:00+02:00"):
        at, found = ms(day), []
        for _ in range(12):
            at = ticks.next_after(at)
            found.append(at)
        assert {b - a for a, b in pairwise(found)} == {1_800_000}


def test_multiples_of_an_interval_do_not_depend_on_the_start() -> None:
    ticks = EveryTicks(300_000)
    assert ticks.next_after(0) == ticks.next_after(299_999) == 300_000
    assert ticks.next_after(300_000) == 600_000
    assert ticks.last_until(300_000) == ticks.last_until(599_999) == 300_000


CRONS = ["0 6 * * *", "30 2 * * *", "*/7 * * * *", "15 2,3 * * SUN", "0 0 29 2 *", "5 */2 1 * *"]
ZONES = [BERLIN, "UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]


@given(
    st.datetimes(datetime(2026, 3, 1), datetime(2026, 11, 30), timezones=st.just(UTC)),
    st.sampled_from(CRONS),
    st.sampled_from(ZONES),
)
def test_the_last_tick_is_the_one_before_the_next(at: datetime, cron: str, tz: str) -> None:
    ticks, now = CronTicks(cron, tz), int(at.timestamp() * 1000)
    last, following = ticks.last_until(now), ticks.next_after(now)
    assert last <= now < following
    assert ticks.last_until(last) == last
    assert ticks.next_after(last) == following
    assert ticks.last_until(following - 1) == last


@pytest.mark.parametrize(
    ("cron", "tz", "says"),
    [
        ("x", "UTC", "cron='x': Wrong number of fields. Give minute, hour"),
        ("0 0 30 2 *", "UTC", "Bad day-of-month"),
        ("61 * * * *", "UTC", "Bad minute"),
        ("@daily", "UTC", "Wrong number of fields"),
        ("0 6 * * *", "Mars/Base", "tz='Mars/Base': no such time zone"),
        ("0 6 * * *", "", "no such time zone"),
    ],
)
def test_a_wrong_expression_or_zone_is_refused(cron: str, tz: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        cron_ticks(cron, tz)
    assert says in str(caught.value)


def test_a_day_is_not_always_a_day_long() -> None:
    ticks = cron_ticks("0 0 * * *", BERLIN)
    found = [datetime.fromisoformat(at) for at in local(ticks, "2026-03-28T12:00+01:00", 2)]
    assert found[1].astimezone(UTC) - found[0].astimezone(UTC) == timedelta(hours=23)
