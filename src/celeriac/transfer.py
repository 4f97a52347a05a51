"""How long the transfer of many bytes may take, and how many are sent at once. Pure."""

from __future__ import annotations

from collections.abc import Sequence

# Of one pipeline of events: on a link of 8 MB/s less than a tenth of a second.
PORTION_BYTES = 512 * 1024
# Written at once; each has the whole time-out of the connection.
SLICE = 64 * 1024
SLOWEST = 250_000  # bytes/s: a link that is slower counts as broken


def transfer_time(size: int) -> float:
    """Return the seconds that so many bytes may take beyond the usual."""
    return size / SLOWEST if size > SLICE else 0.0


def portion_end(items: Sequence[tuple[str, bytes]], start: int) -> int:
    """Return the index behind the items that one pipeline takes from `start`: at least one."""
    size, at = 0, start
    for at in range(start, len(items)):
        size += len(items[at][1])
        if size > PORTION_BYTES and at > start:
            return at
    return at + 1


def slices(packed: bytes) -> list[bytes | memoryview]:
    """Return the bytes in pieces, so that a link which moves is not taken for a broken one."""
    if len(packed) <= SLICE:
        return [packed]
    view = memoryview(packed)
    return [view[at : at + SLICE] for at in range(0, len(packed), SLICE)]
