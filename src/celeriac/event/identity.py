"""Event ids: UUIDv7 (RFC 9562), so that ids sort by the time of the emit."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from time import time_ns

_VERSION_7 = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE
)


def new_event_id() -> str:
    """A new UUIDv7: 36 characters, lower case. Ids of one process sort to about 0.25 µs.

    Safe in threads and in forked children.
    """
    # from the kernel at each call: a generator of our own would repeat itself after a fork
    return _event_id(os.urandom(8).hex())


def new_event_ids(count: int) -> Iterator[str]:
    """`count` of them, each with the time at which it is taken; the randomness is fetched once."""
    entropy = os.urandom(8 * count).hex()
    return (_event_id(entropy[at : at + 16]) for at in range(0, 16 * count, 16))


def _event_id(entropy: str) -> str:
    milliseconds, nanoseconds = divmod(time_ns(), 1_000_000)
    # RFC 9562, 6.2, method 3: the 12 bits after the version hold the fraction of the millisecond.
    # 8 is the variant; of the 62 free bits behind it 60 are random.
    fraction = nanoseconds * 4096 // 1_000_000
    return f"{_head(milliseconds)}{fraction:03x}-8{entropy[:3]}-{entropy[3:15]}"


@lru_cache(maxsize=1)
def _head(milliseconds: int) -> str:
    head = f"{milliseconds:012x}"
    return f"{head[:8]}-{head[8:]}-7"


def id_time_ms(event_id: str) -> int | None:
    """Milliseconds since the epoch that a UUIDv7 holds; None for an id of any other shape."""
    if _VERSION_7.fullmatch(event_id) is None:
        return None
    return int(event_id[:8] + event_id[9:13], 16)
