"""The frame of a run record for few entries: 9 or 10 bytes, and about 4 for each further entry.

A frame begins with the number of entries and the index of the worker in the record's header, one
byte each. Then follow the ms from the last entry to the completion, and the time of the first entry
modulo SPAN_MS. For each entry follow the ms since the previous entry (except for the first); its
sequence number, or the number of skipped ones if the time is the same; and two bytes of
run_record.run_code. Numbers are LEB128; the two bytes and the time of the first entry are
little-endian. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from celeriac.event_log import entry_key

MAX_ENTRIES = 100
SPAN_MS = 1 << 24  # between an entry and the end of its record
_SPAN_BYTES = 3


class SmallFrame(NamedTuple):
    """`worker` is an index into the record's header, `end` the offset of the next frame."""

    worker: int
    at_ms: int
    runs: list[tuple[str, int]]
    end: int


def pack_small(
    at_ms: int, entries: Sequence[str], codes: Sequence[int], until_ms: int
) -> bytes | None:
    """Return the frame, with 0 as the worker's index; None if it needs a frame of the other kind.

    `until_ms` is the time of the last entry of the chunk, which may have no run.
    """
    if len(entries) > MAX_ENTRIES:
        return None
    runs = sorted(zip(map(entry_key, entries), codes, strict=True))
    first_ms, last_ms = runs[0][0][0], runs[-1][0][0]
    if at_ms < last_ms or not last_ms <= until_ms < first_ms + SPAN_MS:
        return None
    out = bytearray((len(runs), 0))
    _add(out, at_ms - last_ms)
    out += (first_ms % SPAN_MS).to_bytes(_SPAN_BYTES, "little")
    before_ms, following = first_ms, 0
    for n, ((ms, sequence), code) in enumerate(runs):
        if ms > before_ms:
            following = 0
        if n:
            _add(out, ms - before_ms)
        _add(out, sequence - following)
        out += code.to_bytes(2, "little")
        before_ms, following = ms, sequence + 1
    return bytes(out)


def parse_small(record: bytes, at: int, upto_ms: int) -> SmallFrame:
    """Return the frame at this offset of a record whose last entry has the time `upto_ms`.

    Raises ValueError or IndexError if there is none.
    """
    count, worker = record[at], record[at + 1]
    late_ms, at = _number(record, at + 2)
    ms_in_span = int.from_bytes(record[at : at + _SPAN_BYTES], "little")
    at += _SPAN_BYTES
    ms = upto_ms - (upto_ms - ms_in_span) % SPAN_MS
    runs, following = [], 0
    for n in range(count):
        if n:
            more_ms, at = _number(record, at)
            if more_ms:
                ms, following = ms + more_ms, 0
        more, at = _number(record, at)
        sequence = following + more
        runs.append((f"{ms}-{sequence}", record[at] | record[at + 1] << 8))
        following, at = sequence + 1, at + 2
    return SmallFrame(worker, ms + late_ms, runs, at)


def _add(out: bytearray, number: int) -> None:
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)


def _number(record: bytes, at: int) -> tuple[int, int]:
    """Return the number at this offset, and the offset after it."""
    number = shift = 0
    while True:
        byte = record[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
        if shift > 63:
            raise ValueError("a number has over 63 bits")
