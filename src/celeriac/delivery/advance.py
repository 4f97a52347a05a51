"""Values for advancing consumer groups of a domain past entries that were read once for all."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from celeriac.delivery.delivery import Group


@dataclass(frozen=True, slots=True)
class NewChunk:
    """A new chunk `id` of the `count` entries after `after` up to `upto`, inclusive. If `entries`
    is not empty, the chunk has only these."""

    id: str
    after: str
    upto: str
    count: int
    entries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advance:
    """Move the group from `after` to `upto`, past `entries` entries.

    The group moves only if its position is `after`. A negative number of entries means unknown: the
    group's lag is then unknown until its position is the end of the log. Code of the handler that
    subscribes to `patterns` wants no entry except those in the `chunk`.

    Looking up one of many groups costs as much as looking up all. The group is not looked up if
    `following` is the entry after `after`, and `read` is how many entries the group has read at
    `upto`, according to an earlier reply.
    """

    group: Group
    after: str
    upto: str
    entries: int
    patterns: tuple[str, ...]
    chunk: NewChunk | None = None
    following: str = ""
    read: int = -1


class Advanced(msgspec.Struct, frozen=True):
    """The result of an advance. `position` is the group's position, "" if the group is gone.

    `is_moved`: the group was at the expected position, and the chunk was opened. `is_ambiguous`: an
    entry may repeat an event (see `Fetched`). `has_open`: the group had pending deliveries, or open
    chunks with an expired lease; not checked if a chunk was opened. `mean_us` and `open_chunks`, of
    this worker, are 0 if no chunk was opened. `entries_read` is Redis' count for the group,
    negative if unknown. `is_unknown`: the group's cluster node is unreachable, and the chunk may
    have been opened.
    """

    is_moved: bool = False
    position: str = ""
    is_unknown: bool = False
    now_ms: int = 0
    is_ambiguous: bool = False
    has_open: bool = False
    open_chunks: int = 0
    entries_read: int = -1
    mean_us: int = 0
