"""What `celeriac replay` is asked to do, and the questions and notes that follow from it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from celeriac.cli.show import count, table, when
from celeriac.cli.terminal import confirm, echo
from celeriac.cli.user import user_name
from celeriac.dead_letter import Note
from celeriac.registry import HandlerRecord


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """The arguments of a replay."""

    record: HandlerRecord
    since: datetime
    until: datetime | None
    pattern: str | None
    tenant: str | None
    reason: str
    yes: bool
    dry_run: bool

    @property
    def since_ms(self) -> int:
        """The first time, in ms since the epoch."""
        return _ms(self.since)

    @property
    def until_ms(self) -> int | None:
        """The last time, in ms since the epoch; None for now."""
        return None if self.until is None else _ms(self.until)

    def note(self, where: str = "", operation: str = "") -> bytes:
        """Return the note for the audit log."""
        until = f" until {when(self.until_ms)}" if self.until_ms is not None else ""
        of = f" type={self.pattern}" if self.pattern is not None else ""
        of += f" tenant={self.tenant}" if self.tenant is not None else ""
        return Note(
            actor=user_name(),
            did="replay",
            what=f"{self.record.id} since {when(self.since_ms)}{until}{of}{where}",
            via="celeriac",
            operation=operation or secrets.token_hex(8),
            reason=self.reason,
        ).encode()

    def is_agreed(self, counts: Mapping[tuple[str, str], int]) -> bool:
        """Show the number of events by domain and type, and ask; return whether to continue."""
        name, number = self.record.id, sum(counts.values())
        if not number:
            echo(f"No events for {name} in that time.")
            return False
        if self.dry_run:
            rows = [(domain, type, f"{n:,}") for (domain, type), n in sorted(counts.items())]
            table(("domain", "type", "events"), rows, right=("events",))
            echo(f"{count(number, 'event')} for {name}. Nothing was scheduled.")
            return False
        if not self.yes:
            confirm(f"Run {count(number, 'event')} through {name} again?", abort=True)
        return True


def _ms(moment: datetime) -> int:
    # In integers: the same time, written with milliseconds, must have the same result.
    return max(0, (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1))
