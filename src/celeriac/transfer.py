"""How long the transfer of many bytes may take, and how many are sent or read at once. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

# Of one pipeline of events: on a link of 8 MB/s less than a tenth of a second.
PORTION_BYTES = 512 * 1024
# Written at once; each has the whole time-out of the connection.
SLICE = 64 * 1024
# Stored events are read a page at a time: few at first, then as many as PAGE_BYTES are likely to
# hold. One script moves as many.
FIRST_PAGE, PAGE_BYTES = 20, 4_000_000
SLOWEST = 250_000  # bytes/s: a link that is slower counts as broken

T = TypeVar("T")


def transfer_time(size: int) -> float:
    """Return the seconds that so many bytes may take beyond the usual."""
    return size / SLOWEST if size > SLICE else 0.0


def portion_end(items: Sequence[tuple[str, bytes, *tuple[Any, ...]]], start: int) -> int:
    """Return the index behind the items that one pipeline takes from `start`: at least one."""
    size, at = 0, start
    for at in range(start, len(items)):
        size += len(items[at][1])
        if size > PORTION_BYTES and at > start:
            return at
    return at + 1


def next_page(sizes: Sequence[int], most: int) -> int:
    """Return how many stored events to read after a page with events of these sizes.

    A page is bounded by a guess, because Redis tells no size without the event: they may be as
    large as the largest of the last page, and a page has at most four times as many events.
    """
    likely = PAGE_BYTES // max(1, *sizes)
    return max(1, min(most, likely, 4 * len(sizes)))


def portions(items: Iterable[tuple[T, int]]) -> Iterator[list[T]]:
    """Return items, given with their sizes in bytes, in lists of at most PAGE_BYTES.

    Larger than that is a list of one item only.
    """
    portion: list[T] = []
    held = 0
    for item, size in items:
        if portion and held + size > PAGE_BYTES:
            yield portion
            portion, held = [], 0
        portion.append(item)
        held += size
    if portion:
        yield portion


def slices(packed: bytes) -> list[bytes | memoryview]:
    """Return the bytes in pieces, so that a link which moves is not taken for a broken one."""
    if len(packed) <= SLICE:
        return [packed]
    view = memoryview(packed)
    return [view[at : at + SLICE] for at in range(0, len(packed), SLICE)]
