"""What an autoscaler asked last about a service: written by gateways, read by `celeriac doctor`."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

# An autoscaler asks every 15 to 60 seconds.
ACTIVE_WITHIN_MS = 600_000
FORGET_TARGET_AFTER_MS = 86_400_000


class ScaleTargetRecord(msgspec.Struct, frozen=True, kw_only=True):
    """The last answer to an autoscaler. `queue` is empty if it scales all queues of the service.

    `unmet_since_ms` is since when workers are wanted while none runs; None if this is not so.
    """

    service: str
    queue: str = ""
    cooldown: float
    workers: int
    requested_ms: int
    unmet_since_ms: int | None = None

    @property
    def name(self) -> str:
        return f"{self.service}:{self.queue}" if self.queue else self.service

    def is_overdue(self, now_ms: int) -> bool:
        """Return whether workers are wanted, but none runs, for longer than the cooldown."""
        since = self.unmet_since_ms
        return since is not None and (now_ms - since) / 1000 > self.cooldown


def note_answer(
    before: ScaleTargetRecord | None, now: ScaleTargetRecord, *, is_running: bool
) -> ScaleTargetRecord:
    """Return the record of an answer, with the time since which it is unmet. Pure."""
    if is_running or now.workers == 0:
        return msgspec.structs.replace(now, unmet_since_ms=None)
    # Without questions in between, it is unknown whether workers ran.
    is_continued = before is not None and now.requested_ms - before.requested_ms <= ACTIVE_WITHIN_MS
    since = before.unmet_since_ms if before is not None and is_continued else None
    return msgspec.structs.replace(now, unmet_since_ms=now.requested_ms if since is None else since)


def targets_of(
    records: Iterable[ScaleTargetRecord], service: str, now_ms: int
) -> list[ScaleTargetRecord]:
    """Return the targets of a service whose autoscaler still asks."""
    return [
        record
        for record in records
        if record.service == service and now_ms - record.requested_ms <= ACTIVE_WITHIN_MS
    ]
