"""One cell of the matrix H(event, handler), and the failures behind it, as stored."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from celeriac.delivery.state import DeliveryState
from celeriac.event_log import entry_time_ms

# Lines of one delivery: the first and the last ones are kept.
MAX_HISTORY = 20


@dataclass(frozen=True, slots=True)
class Row:
    """The last result of a handler for one event.

    `at_ms` is the server's time. `into` is the entry that was handled in place of a coalesced one.
    """

    state: DeliveryState
    entry: str
    attempt: int
    at_ms: int
    took_us: int
    into: str = ""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt that failed. `at` is in ms since the epoch, `took` the run time in µs.

    `life` is 1 until the delivery is redriven or replayed for the first time; each of these begins
    another, whose attempts count from 1.
    """

    attempt: int
    at: int
    error: str
    took: int = 0
    worker: str = ""
    life: int = 1

    def encode(self) -> bytes:
        # complete.lua reads the first field, "attempt", and the first "at".
        return msgspec.json.encode(
            {
                "attempt": self.attempt,
                "at": self.at,
                "error": self.error,
                "took": self.took,
                "worker": self.worker,
            }
        )


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """A redrive, replay or edit of a delivery that already had a record.

    `note` is the JSON of `dead_letter.Note`. `life` is the life that the restart began. The life
    before it ended in the state `ended`, in the attempt `attempts` at `ended_at` (ms); these are
    empty if the delivery had no row. After an edit, `edited` is the id of the event that replaced
    this one. An edit begins no new life here: `life` is the one that it ended.
    """

    at: int
    note: str = ""
    life: int = 2
    ended: str = ""
    attempts: int = 0
    ended_at: int | None = None
    took: int = 0
    edited: str = ""

    @classmethod
    def of(cls, row: Row | None, *, at: int, note: str, life: int) -> Restart:
        """A restart of a delivery with this row."""
        if row is None:
            return cls(at=at, note=note, life=life)
        return cls(
            at=at,
            note=note,
            life=life,
            ended=row.state,
            attempts=row.attempt,
            ended_at=row.at_ms,
            took=row.took_us,
        )


class History(msgspec.Struct, frozen=True):
    """The failures and restarts of one delivery before its current attempt, both oldest first."""

    failures: tuple[Failure, ...] = ()
    restarts: tuple[Restart, ...] = ()

    @property
    def life(self) -> int:
        """The current life of the delivery, counted from 1."""
        return 1 + sum(not restart.edited for restart in self.restarts)


def refused_field(entry: str) -> str:
    """Return the field of the row of an entry whose event was refused.

    It is not the event key: any producer can write the key of another event. No event key begins
    with a line feed.
    """
    return f"\n{entry}"


def parse_row(stored: bytes) -> Row:
    """Parse `state entry attempt after took`; `after` counts ms from the entry's own time.

    A sixth field is the id of the dead letter, for the scripts, or the entry that was handled in
    place of a coalesced one.
    """
    state, entry, attempt, after, took, *more = stored.decode().split(" ")
    return Row(
        state=DeliveryState(state),
        entry=entry,
        attempt=int(attempt),
        at_ms=entry_time_ms(entry) + int(after),
        took_us=int(took),
        into=more[0] if more and state == DeliveryState.COALESCED else "",
    )


def format_row(row: Row) -> bytes:
    after = row.at_ms - entry_time_ms(row.entry)
    return f"{row.state} {row.entry} {row.attempt} {after} {row.took_us}".encode()


class _Line(msgspec.Struct, frozen=True):
    """A line of the history; one without `attempt` is a restart."""

    at: int
    attempt: int | None = None
    error: str = ""
    took: int = 0
    worker: str = ""
    note: str = ""
    row: str = ""
    edited: str = ""


def parse_history(stored: bytes) -> History:
    """From lines of JSON as `_history.lua` and `_revive.lua` write them."""
    failures: list[Failure] = []
    restarts: list[Restart] = []
    for raw in stored.split(b"\n"):
        line = msgspec.json.decode(raw, type=_Line)
        life = 1 + sum(not restart.edited for restart in restarts)
        if line.edited:
            restarts.append(Restart(at=line.at, note=line.note, life=life, edited=line.edited))
        elif line.attempt is None:
            row = parse_row(line.row.encode()) if line.row else None
            restarts.append(Restart.of(row, at=line.at, note=line.note, life=life + 1))
        else:
            failures.append(
                Failure(
                    attempt=line.attempt,
                    at=line.at,
                    error=line.error,
                    took=line.took,
                    worker=line.worker,
                    life=life,
                )
            )
    return History(tuple(failures), tuple(restarts))
