"""Which events of an archive to replay, and how far a replay is."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import msgspec


class ArchiveReplayOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which events to replay. Equal options are the same replay.

    Attributes:
        url: The URL of the archive.
        since_ms: The time of the first event's entry, in ms since the epoch.
        until_ms: The time of the last event's entry; None for the time of the first start.
        pattern: A pattern of event types; None for all types.
        tenant: A tenant; None for all events.
    """

    url: str
    since_ms: int
    until_ms: int | None = None
    pattern: str | None = None
    tenant: str | None = None

    def operation(self, handler: str) -> str:
        """Return the id of the replay for this handler."""
        named = msgspec.json.encode((handler, self))
        return blake2b(named, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a replay is, in files of the archive and in events.

    Attributes:
        domain: The domain that is replayed now; empty at the end.
        files: Files that were read, or need not be read.
        scheduled: Events that were scheduled, also by earlier processes.
        kept: Unfinished deliveries that were left as they are.
        is_waiting: The replay waits until the handler has fewer unfinished events.
    """

    domain: str
    files: int = 0
    scheduled: int = 0
    kept: int = 0
    is_waiting: bool = False
