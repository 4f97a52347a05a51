"""The identity of an event: its id and source together (CloudEvents 1.0).

New ids are UUIDv7 (RFC 9562), so that ids sort by the time of the emit. Ids of `emit` have a mark
by which they are recognised without a lookup: see docs/adr/0027. Redis and databases store the
records of an event under its event key.
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
    """Return a new UUIDv7, in lower case. Ids of one process sort to about 0.25 µs.

    Safe in threads and in forked children.
    """
    # From the kernel at each call: a generator in the process would repeat itself after a fork.
    return _event_id(os.urandom(6).hex())


def new_event_ids(count: int) -> Iterator[str]:
    """Yield `count` new ids, each with the time of its iteration, from one read of randomness."""
    entropy = os.urandom(6 * count).hex()
    return (_event_id(entropy[start : start + 12]) for start in range(0, 12 * count, 12))


def _event_id(entropy: str) -> str:
    milliseconds, nanoseconds = divmod(time_ns(), 1_000_000)
    # RFC 9562, 6.2, method 3: the 12 bits after the version hold the fraction of the millisecond.
    # 8 is the variant and 2 bits of the mark, whose other 12 bits follow; 48 bits are random.
    fraction = nanoseconds * 4096 // 1_000_000
    head, mark = _marked(milliseconds)
    return f"{head}{fraction:03x}{mark}{entropy}"


def unpublished_event_id() -> str:
    """Return a new UUIDv7 for an event that is published later, with this id as an argument.

    `made_ms` returns 0 for it.
    """
    return _with_other_mark(new_event_id())


def derived_event_id(*parts: str) -> str:
    """Return the id that these parts always have: a UUIDv8 (RFC 9562, 5.8) of their BLAKE2b hash.

    Different parts have different ids, also if they are the same when joined.
    """
    named = "".join(f"{len(part)}:{part}" for part in parts)
    digest = blake2b(named.encode(errors="surrogatepass"), digest_size=16).hexdigest()
    # 8 is the version, and as the first digit of the fourth part the variant.
    return f"{digest[:8]}-{digest[8:12]}-8{digest[13:16]}-8{digest[17:20]}-{digest[20:]}"


def _with_other_mark(event_id: str) -> str:
    return f"{event_id[:20]}{int(event_id[20:23], 16) ^ 0xFFF:03x}{event_id[23:]}"


def made_ms(event_id: str) -> int:
    """Return when `emit` made the id, in ms since the epoch; 0 for any other id.

    One of 16,384 random UUIDv7 has the mark by chance.
    """
    milliseconds = id_time_ms(event_id) or 0
    return milliseconds if event_id[18:24] == _marked(milliseconds)[1] else 0


def is_unguessable(event_id: str) -> bool:
    """Return whether celeriac made the id at random, so that no other event can have it."""
    if id_time_ms(event_id) is None:
        return False
    return made_ms(event_id) > 0 or made_ms(_with_other_mark(event_id)) > 0


@lru_cache(maxsize=1)
def _marked(milliseconds: int) -> tuple[str, str]:
    """Return the parts of an id before the fraction and after it; the latter has the mark.

    The mark is 12 bits of a multiplicative hash (Knuth, The Art of Computer Programming, 6.4).
    """
    head, mark = f"{milliseconds:012x}", milliseconds * 2_654_435_761 >> 20 & 0xFFF
    return f"{head[:8]}-{head[8:]}-7", f"-8{mark:03x}-"


def id_time_ms(event_id: str) -> int | None:
    """Return the time in a UUIDv7, in ms since the epoch; None for any other id."""
    if _VERSION_7.fullmatch(event_id) is None:
        return None
    return int(event_id[:8] + event_id[9:13], 16)


# With 8 characters the key of a UUID has 44 bytes, the longest text that Redis (jemalloc) stores in
# the 48 bytes that it needs for the UUID alone.
SOURCE_LENGTH = 8
MAX_KEY_LENGTH = MAX_LENGTH + SOURCE_LENGTH


def event_key(event_id: str, source: str) -> str:
    """Return the event key: the id, and a hash of the source of SOURCE_LENGTH base64url characters.

    Two events have the same key if and only if they have the same id and source.
    """
    return event_id + _hash_of(source)


def key_id(event_key: str) -> str:
    """Return the event id in an event key; empty for an empty key."""
    return event_key[:-SOURCE_LENGTH]


# A service has few sources and hashes each many times.
@lru_cache(maxsize=4096)
def _hash_of(source: str) -> str:
    # An unchecked event may contain lone surrogates, which a later check refuses.
    digest = blake2b(source.encode(errors="surrogatepass"), digest_size=SOURCE_LENGTH * 3 // 4)
    return urlsafe_b64encode(digest.digest()).decode()
