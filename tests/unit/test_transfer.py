"""The number of stored events that are read and moved at once, limited in number and bytes."""

from __future__ import annotations

import pytest

from celeriac.transfer import PAGE_BYTES, next_page, portions


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ([100] * 20, 80),  # four times as many
        ([100] * 100, 200),  # at most that
        ([1] * 19 + [1_000_000], 4),  # determined by the largest event
        ([PAGE_BYTES * 2], 1),
        ([0, 0], 8),
    ],
)
def test_a_page_is_as_long_as_the_last_one_lets_expect(sizes: list[int], count: int) -> None:
    assert count == next_page(sizes, 200)


def test_portions_keep_the_order_and_are_bounded_in_bytes() -> None:
    half = PAGE_BYTES // 2
    items = [("a", half), ("b", half), ("c", 1), ("d", PAGE_BYTES + 1), ("e", 0)]
    assert [["a", "b"], ["c"], ["d"], ["e"]] == list(portions(items))
    assert [] == list(portions([]))
