"""What identifies an event: its id and its source together (CloudEvents 1.0).

New ids are UUIDv7 (RFC 9562), so that ids sort by the time of the emit. They carry a mark, so that
an id which `emit` made and did not register is recognised: see docs/adr/0027. Records that Redis
or a database keeps about an event are found by its event key.
"""

from __future__ import annotations

import os
import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from functools import lru_cache
from hashlib import blake2b
from time import time_ns

from celeriac.event.attributes import MAX_LENGTH

_VERSION_7 = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE
)


def new_event_id() -> str:
    """A new UUIDv7: 36 characters, lower case. Ids of one process sort to about 0.25 µs.

    Safe in threads and in forked children.
    """
    # from the kernel at each call: a generator of our own would repeat itself after a fork
    return _event_id(os.urandom(6).hex())


def new_event_ids(count: int) -> Iterator[str]:
    """`count` of them, each with the time at which it is taken; the randomness is fetched once."""
    entropy = os.urandom(6 * count).hex()
    return (_event_id(entropy[at : at + 12]) for at in range(0, 12 * count, 12))


def _event_id(entropy: str) -> str:
    milliseconds, nanoseconds = divmod(time_ns(), 1_000_000)
    # RFC 9562, 6.2, method 3: the 12 bits after the version hold the fraction of the millisecond.
    # 8 is the variant and 2 bits of the mark, of which 12 follow; 48 bits are random.
    fraction = nanoseconds * 4096 // 1_000_000
    head, mark = _marked(milliseconds)
    return f"{head}{fraction:03x}{mark}{entropy}"


def unpublished_event_id() -> str:
    """A new UUIDv7 of an event that is published later, as one with an id of its own.

    `made_ms` does not take it for an id of `emit`.
    """
    return _with_other_mark(new_event_id())


def _with_other_mark(event_id: str) -> str:
    return f"{event_id[:20]}{int(event_id[20:23], 16) ^ 0xFFF:03x}{event_id[23:]}"


def made_ms(event_id: str) -> int:
    """Milliseconds since the epoch at which `emit` made the id; 0 for any other id.

    One of 16,384 random UUIDv7 is taken for one of emit's.
    """
    milliseconds = id_time_ms(event_id) or 0
    return milliseconds if event_id[18:24] == _marked(milliseconds)[1] else 0


def is_unguessable(event_id: str) -> bool:
    """Whether celeriac made the id, at random: nobody can have used it for another event before."""
    if id_time_ms(event_id) is None:
        return False
    return made_ms(event_id) > 0 or made_ms(_with_other_mark(event_id)) > 0


@lru_cache(maxsize=1)
def _marked(milliseconds: int) -> tuple[str, str]:
    """What is before the fraction in an id, and the mark behind it: 12 bits of a product (Knuth,
    The Art of Computer Programming, 6.4)."""
    head, mark = f"{milliseconds:012x}", milliseconds * 2_654_435_761 >> 20 & 0xFFF
    return f"{head[:8]}-{head[8:]}-7", f"-8{mark:03x}-"


def id_time_ms(event_id: str) -> int | None:
    """Milliseconds since the epoch that a UUIDv7 holds; None for an id of any other shape."""
    if _VERSION_7.fullmatch(event_id) is None:
        return None
    return int(event_id[:8] + event_id[9:13], 16)


# With 8 characters the key of a UUID is 44 bytes: the longest text that Redis (jemalloc) keeps in
# the 48 bytes that it needs for the UUID alone.
SOURCE_LENGTH = 8
MAX_KEY_LENGTH = MAX_LENGTH + SOURCE_LENGTH


def event_key(event_id: str, source: str) -> str:
    """The event key: the id, and a hash of the source in SOURCE_LENGTH characters of base64url.

    Events that have the id and the source in common have the same key, and others do not.
    """
    return event_id + _hash_of(source)


def key_id(event_key: str) -> str:
    """The event id in an event key; empty for an empty key."""
    return event_key[:-SOURCE_LENGTH]


# A service sees few sources, many times over.
@lru_cache(maxsize=4096)
def _hash_of(source: str) -> str:
    # An event that was only peeked at may hold lone surrogates, which a later check refuses.
    digest = blake2b(source.encode(errors="surrogatepass"), digest_size=SOURCE_LENGTH * 3 // 4)
    return urlsafe_b64encode(digest.digest()).decode()
