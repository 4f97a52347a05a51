"""How the entries of a chunk ran, packed into 4 to 10 bytes each. Pure.

A record is one frame or several concatenated frames. A frame of few entries has the format of
small_frame.py. Any other frame begins with its length in four bytes, the first of them 0. Then
follows MessagePack of the worker, the time in ms, the entry ids joined by line feeds and compressed
with zlib, and two bytes for each entry.
"""

from __future__ import annotations

import struct
import sys
import zlib
from array import array
from collections.abc import Container, Iterable, Iterator, Sequence
from enum import IntEnum
from typing import NamedTuple

import msgspec

from celeriac.delivery.small_frame import pack_small, parse_small
from celeriac.event_log import entry_time_ms, is_entry

# The two bytes: an outcome, an exponent and a mantissa, so that run times are accurate to 0.4 %.
MANTISSA_BITS, EXPONENT_BITS = 9, 5
MANTISSA = (1 << MANTISSA_BITS) - 1
MAX_ENTRY_IDS_BYTES = 1_000_000  # of one frame: a limit for the memory that invalid data can use
MAX_HEADER_BYTES = 10_000
_LENGTH = struct.Struct(">I")


class RunOutcome(IntEnum):
    """The outcome of an entry in a chunk."""

    PROCESSED = 0
    IGNORED = 1  # not meant for this handler
    EXCEPTION = 2  # it has its own record


class Run(msgspec.Struct, frozen=True):
    """The run of one entry in a chunk.

    `at_ms` is when the completion of the chunk was recorded. It is 0 if the record cannot be read:
    then it is certain only that the entry was processed.
    """

    entry: str
    outcome: RunOutcome
    took_us: int
    worker: str
    at_ms: int


class _Frame(msgspec.Struct, array_like=True):
    worker: str
    at_ms: int
    entries: bytes
    codes: bytes


def run_code(outcome: RunOutcome, took_us: int) -> int:
    """Return the two bytes of one entry as a number."""
    exponent = max(0, took_us.bit_length() - MANTISSA_BITS)
    if exponent >= 1 << EXPONENT_BITS:
        exponent, mantissa = (1 << EXPONENT_BITS) - 1, MANTISSA
    else:
        mantissa = took_us >> exponent
    return outcome << (EXPONENT_BITS + MANTISSA_BITS) | exponent << MANTISSA_BITS | mantissa


def processed_codes(took_us: Iterable[int]) -> list[int]:
    """Return `run_code` of entries that were processed."""
    # Short run times are their own codes.
    return [took if took <= MANTISSA else run_code(RunOutcome.PROCESSED, took) for took in took_us]


def parse_run_code(code: int) -> tuple[RunOutcome, int]:
    """Return the outcome and the run time in µs."""
    exponent = code >> MANTISSA_BITS & (1 << EXPONENT_BITS) - 1
    return (
        RunOutcome(code >> (EXPONENT_BITS + MANTISSA_BITS)),
        (code & MANTISSA) << exponent,
    )


def pack_runs(
    worker: str, at_ms: int, entries: Sequence[str], codes: Sequence[int], until: str = ""
) -> bytes:
    """Return one frame. `codes` are the `run_code` of each entry; entries may be in any order.

    `until` is the last entry of the chunk if it is not among `entries`.
    """
    until_ms = entry_time_ms(until or entries[-1])
    if (small := pack_small(at_ms, entries, codes, until_ms)) is not None:
        return small
    packed = array("H", codes)
    if sys.byteorder == "big":
        packed.byteswap()
    frame = msgspec.msgpack.encode(
        _Frame(worker, at_ms, zlib.compress("\n".join(entries).encode(), 1), packed.tobytes())
    )
    return _LENGTH.pack(len(frame)) + frame


class RunRecord(NamedTuple):
    """A member of the sorted set of run records, for the entries after `after` up to `upto`,
    inclusive. Small frames refer to `workers` by index."""

    after: str
    upto: str
    workers: Sequence[str]
    frames: bytes


def parse_record(member: bytes) -> RunRecord:
    """Parse `after upto worker…`, a line feed, and the frames. Raises ValueError for other data."""
    header, _, frames = member.partition(b"\n")
    after, _, others = header[:MAX_HEADER_BYTES].decode(errors="replace").partition(" ")
    upto, _, workers = others.partition(" ")
    if not (is_entry(after) and is_entry(upto) and frames):
        raise ValueError("is not a run record: it does not begin with two entry ids")
    return RunRecord(after, upto, workers.split(), frames)


def _decompressed(entries: bytes) -> str:
    decompress = zlib.decompressobj()
    text = decompress.decompress(entries, MAX_ENTRY_IDS_BYTES)
    if not decompress.eof:
        raise ValueError(
            f"is not a run record: its entry ids have over {MAX_ENTRY_IDS_BYTES:,} bytes"
        )
    return text.decode()


def parse_runs(record: RunRecord, only: Container[str] | None = None) -> Iterator[Run]:
    """Yield every run of the frames of a record, or only the runs of the entries in `only`.

    Raises ValueError for invalid frames.
    """
    at, frames = 0, record.frames
    upto_ms = entry_time_ms(record.upto)
    while at < len(frames):
        try:
            if frames[at]:
                worker_index, at_ms, runs, at = parse_small(frames, at, upto_ms)
                worker = record.workers[worker_index]
            else:
                worker, at_ms, runs, at = _parse_large(frames, at)
        except (
            struct.error,
            msgspec.MsgspecError,
            zlib.error,
            UnicodeDecodeError,
            IndexError,
            ValueError,
        ) as error:
            raise ValueError(f"is not a run record: {error}") from error
        for entry, code in runs:
            if only is None or entry in only:
                outcome, took_us = parse_run_code(code)
                yield Run(entry, outcome, took_us, worker, at_ms)


def _parse_large(frames: bytes, at: int) -> tuple[str, int, list[tuple[str, int]], int]:
    """Return the worker, the time, the runs, and the offset of the next frame."""
    (length,) = _LENGTH.unpack_from(frames, at)
    at += _LENGTH.size
    frame = msgspec.msgpack.decode(frames[at : at + length], type=_Frame)
    entries = _decompressed(frame.entries).split("\n")
    codes = array("H", frame.codes)
    if sys.byteorder == "big":
        codes.byteswap()
    if len(entries) != len(codes):
        raise ValueError(f"it has {len(entries)} entry ids and {len(codes)} run times")
    return frame.worker, frame.at_ms, list(zip(entries, codes, strict=True)), at + length
