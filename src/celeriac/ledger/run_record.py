"""How the entries of a chunk ran, packed into 4 to 8 bytes each. Pure.

A record is one frame, or several that were put one behind the other: the length of the frame as
four bytes, then MessagePack of the worker, the time in ms, the entry ids joined by line feeds and
compressed with zlib, and two bytes for each entry.
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

from celeriac.log import is_entry

# The two bytes: an outcome, an exponent and a mantissa, so that run times are right to 0.4 %.
MANTISSA_BITS, EXPONENT_BITS = 9, 5
MANTISSA = (1 << MANTISSA_BITS) - 1
MAX_ENTRY_IDS_BYTES = 1_000_000  # of one frame: what is no frame may fill the memory else
_LENGTH = struct.Struct(">I")


class RunOutcome(IntEnum):
    """What became of an entry in a chunk."""

    PROCESSED = 0
    IGNORED = 1  # not meant for this handler
    EXCEPTION = 2  # it has a record of its own


class Run(msgspec.Struct, frozen=True):
    """The run of one entry in a chunk. `at_ms` is when the chunk's completion was recorded, 0 where
    the record cannot be read: then it is known only that the entry was processed."""

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
    # Short run times are codes by themselves.
    return [took if took <= MANTISSA else run_code(RunOutcome.PROCESSED, took) for took in took_us]


def parse_run_code(code: int) -> tuple[RunOutcome, int]:
    """Return the outcome and the run time in µs."""
    exponent = code >> MANTISSA_BITS & (1 << EXPONENT_BITS) - 1
    return (
        RunOutcome(code >> (EXPONENT_BITS + MANTISSA_BITS)),
        (code & MANTISSA) << exponent,
    )


def pack_runs(worker: str, at_ms: int, entries: Sequence[str], codes: Sequence[int]) -> bytes:
    """Return one frame. `codes` are those of `run_code`, in the order of the entries."""
    packed = array("H", codes)
    if sys.byteorder == "big":
        packed.byteswap()
    frame = msgspec.msgpack.encode(
        _Frame(worker, at_ms, zlib.compress("\n".join(entries).encode(), 1), packed.tobytes())
    )
    return _LENGTH.pack(len(frame)) + frame


class RunRecord(NamedTuple):
    """A member of the sorted set of run records: of the entries after `after`, up to and with
    `upto`."""

    after: str
    upto: str
    frames: bytes


def parse_record(member: bytes) -> RunRecord:
    """From `after upto`, a line feed, and the frames. Raises ValueError for anything else."""
    header, _, frames = member.partition(b"\n")
    after, _, upto = header[:100].decode(errors="replace").partition(" ")
    if not (is_entry(after) and is_entry(upto) and frames):
        raise ValueError("is no run record: it does not begin with two entry ids")
    return RunRecord(after, upto, frames)


def _decompressed(entries: bytes) -> str:
    decompress = zlib.decompressobj()
    text = decompress.decompress(entries, MAX_ENTRY_IDS_BYTES)
    if not decompress.eof:
        raise ValueError(f"is no run record: its entry ids have over {MAX_ENTRY_IDS_BYTES:,} bytes")
    return text.decode()


def parse_runs(record: bytes, only: Container[str] | None = None) -> Iterator[Run]:
    """Yield every run of the frames of a record, or of those entries only. Raises ValueError where
    these are no frames."""
    at = 0
    while at < len(record):
        try:
            (length,) = _LENGTH.unpack_from(record, at)
            at += _LENGTH.size
            frame = msgspec.msgpack.decode(record[at : at + length], type=_Frame)
            entries = _decompressed(frame.entries).split("\n")
            codes = array("H", frame.codes)
        except (struct.error, msgspec.MsgspecError, zlib.error, UnicodeDecodeError) as error:
            raise ValueError(f"is no run record: {error}") from error
        if sys.byteorder == "big":
            codes.byteswap()
        at += length
        for entry, code in zip(entries, codes, strict=True):
            if only is None or entry in only:
                outcome, took_us = parse_run_code(code)
                yield Run(entry, outcome, took_us, frame.worker, frame.at_ms)
