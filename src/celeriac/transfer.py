"""Sizes and timeouts of bulk transfers: pipelines, slices and pages. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

# Size of one pipeline of events: under 0.1 s on a link of 8 MB/s.
PORTION_BYTES = 512 * 1024
# Size of one write; each write has the full timeout of the connection.
SLICE = 64 * 1024
# Stored events are read in pages: a small first page, then pages of about PAGE_BYTES. A script that
# moves events moves one page.
FIRST_PAGE, PAGE_BYTES = 20, 4_000_000
MIN_BYTES_PER_S = 250_000  # a slower link counts as broken

T = TypeVar("T")


def transfer_time(size: int) -> float:
    """Return the seconds to add to a timeout for a transfer of `size` bytes."""
    return size / MIN_BYTES_PER_S if size > SLICE else 0.0


def portion_end(items: Sequence[tuple[str, bytes, *tuple[Any, ...]]], start: int) -> int:
    """Return the end index of the items that one pipeline sends from `start`: at least one."""
    size, index = 0, start
    for index in range(start, len(items)):
        size += len(items[index][1])
        if size > PORTION_BYTES and index > start:
            return index
    return index + 1


def next_page(sizes: Sequence[int], max_page: int) -> int:
    """Return how many stored events to read after a page with events of these sizes.

    The size is an estimate, because Redis returns no size without the event: each event may be as
    large as the largest of the last page. A page has at most four times as many events as the last.
    """
    likely = PAGE_BYTES // max(1, *sizes)
    return max(1, min(max_page, likely, 4 * len(sizes)))


def portions(items: Iterable[tuple[T, int]]) -> Iterator[list[T]]:
    """Yield items, given with their sizes in bytes, in lists of at most PAGE_BYTES.

    An item that is larger is yielded in a list of its own.
    """
    portion: list[T] = []
    portion_size = 0
    for item, size in items:
        if portion and portion_size + size > PAGE_BYTES:
            yield portion
            portion, portion_size = [], 0
        portion.append(item)
        portion_size += size
    if portion:
        yield portion


def slices(packed: bytes) -> list[bytes | memoryview]:
    """Return the bytes in slices, so that a slow link does not count as broken."""
    if len(packed) <= SLICE:
        return [packed]
    view = memoryview(packed)
    return [view[at : at + SLICE] for at in range(0, len(packed), SLICE)]
