"""Times and durations as people read them, on every surface."""

from __future__ import annotations

import pytest

from celeriac.time_text import duration, run_time, when


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (-1, "0 s"), (0.0000123, "12 µs"), (0.00085, "850 µs"), (0.0009996, "1 ms"),
        (0.0034, "3.4 ms"), (0.0124, "12 ms"), (0.85, "850 ms"), (0.9996, "1 s"), (1.26, "1.3 s"),
        (9.96, "10 s"), (12, "12 s"), (119, "119 s"), (120, "2 min"), (150, "2.5 min"),
        (6000, "100 min"), (9000, "2.5 h"), (18_000, "5 h"), (172_800, "2 d"), (777_600, "9 d"),
        (1e9, "11574 d"),
    ],
)  # fmt: skip
def test_durations_have_two_digits_or_more(seconds: float, text: str) -> None:
    assert text == duration(seconds)


def test_an_unknown_duration_is_the_text_that_the_caller_gives() -> None:
    assert ("", "·") == (duration(None), duration(None, missing="·"))
    assert ["", "", "12 µs", "1.2 s"] == [run_time(us) for us in (None, 0, 12, 1_200_000)]


def test_a_time_is_shown_with_its_distance_from_now() -> None:
    assert "" == when(None)
    assert "1970-01-01 00:00:01" == when(1000)
    assert "1970-01-01 00:00:01 (1 s ago)" == when(1000, now_ms=2000)
    assert "1970-01-01 00:00:02 (in 1.5 s)" == when(2000, now_ms=500)
