"""One cell of the matrix H(event, handler), and the failures behind it, as stored."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from celeriac.ledger.state import Place
from celeriac.log import entry_time_ms

# Of one delivery: the first and the last ones.
MOST_FAILURES = 20


@dataclass(frozen=True, slots=True)
class Row:
    """What handler j did with event i, last. `at_ms` is by the server's clock."""

    state: Place
    entry: str
    attempt: int
    at_ms: int
    took_us: int


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that failed. `at` is in ms since the epoch, `took` the run time in µs."""

    attempt: int
    at: int
    error: str
    took: int = 0
    worker: str = ""

    def encode(self) -> bytes:
        # "at" first is not needed, but a compact "at":N must exist: finish.lua reads it there
        return msgspec.json.encode(self)


def parse_row(stored: bytes) -> Row:
    """From `state entry attempt after took`, where `after` counts ms from the entry's own time.

    A sixth field, the id of the dead letter, is for the scripts.
    """
    state, entry, attempt, after, took = stored.decode().split(" ")[:5]
    return Row(
        state=Place(state),
        entry=entry,
        attempt=int(attempt),
        at_ms=entry_time_ms(entry) + int(after),
        took_us=int(took),
    )


def format_row(row: Row) -> bytes:
    after = row.at_ms - entry_time_ms(row.entry)
    return f"{row.state} {row.entry} {row.attempt} {after} {row.took_us}".encode()


def parse_failures(stored: bytes) -> list[Failure]:
    return [msgspec.json.decode(line, type=Failure) for line in stored.split(b"\n")]
