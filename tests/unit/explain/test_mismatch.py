"""The segment of a pattern that differs from an event type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from celeriac.event import Pattern
from celeriac.explain.mismatch import mismatch, nearest


@pytest.mark.parametrize(
    ("pattern", "type_", "why"),
    [
        ("order.paid", "order.placed", 'segment 2 is "placed", the pattern wants "paid"'),
        ("payment.*", "order.placed", 'segment 1 is "order", the pattern wants "payment"'),
        ("order.*", "order", "the type ends before segment 2, the pattern wants another segment"),
        ("order.paid", "order", 'the type ends before segment 2, the pattern wants "paid"'),
        ("order.*", "order.a.b", 'segment 3 is "b", the pattern ends before it'),
        ("#.failed", "order.placed", 'the last segment is "placed", the pattern wants "failed"'),
        ("#.eu.#", "order.us", 'no segment is "eu", which the pattern wants after "#"'),
        ("order.#", "payment.a", 'segment 1 is "payment", the pattern wants "order"'),
        ("order.#", "order.placed", ""),
        ("order.*", "order.placed", ""),
    ],
)
def test_the_first_segment_that_differs_is_named(pattern: str, type_: str, why: str) -> None:
    assert why == mismatch(pattern, type_)


def test_the_closest_of_several_patterns_is_named() -> None:
    patterns = ("payment.*", "order.item.added", "order.paid")
    assert "order.item.added" == nearest(patterns, "order.item.removed")[0]


SEGMENTS = st.sampled_from(["a", "b", "c"])
TYPES = st.lists(SEGMENTS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.lists(st.sampled_from(["a", "b", "*", "#"]), min_size=1, max_size=4).map(".".join)


@given(PATTERNS, TYPES)
def test_a_pattern_that_does_not_match_always_has_a_reason(pattern: str, type_: str) -> None:
    if not Pattern(pattern).matches(type_):
        assert mismatch(pattern, type_)
