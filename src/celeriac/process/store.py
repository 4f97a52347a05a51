"""Where instances are: the protocol, within one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from celeriac.process.instance import Instance, StepChanges


class ProcessStore(Protocol):
    """The instances of all processes, in one open transaction. Every call blocks."""

    def lock(self, handler: str, key: str, *, insert: bool, now_ms: int) -> Instance | None:
        """Return the instance, locked until the transaction ends; None if there is none.

        With `insert`, a missing instance is reserved, so that two transactions cannot start it; it
        is None as well. Waits for other transactions that lock or reserve it.
        """
        ...

    def save(self, changes: StepChanges) -> None:
        """Store the instance, which `lock` locked or reserved, its timers and the step."""
        ...

    def write(self, rows: Sequence[dict[str, Any]]) -> None:
        """Write events to the outbox."""
        ...
