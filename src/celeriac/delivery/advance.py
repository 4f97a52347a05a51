"""Moving consumer groups of a domain past entries that were read once for all. Values."""

from __future__ import annotations

from dataclasses import dataclass

import msgspec

from celeriac.delivery.store import Group


@dataclass(frozen=True, slots=True)
class NewChunk:
    """The chunk `id` that is opened of the `count` entries after `after`, up to and with `upto`; of
    these it has only those among `entries`, unless that is empty."""

    id: str
    after: str
    upto: str
    count: int
    entries: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Advance:
    """Move the group, if it stands at `after`, past `entries` entries, the last of which is `upto`.

    A negative number of entries says that it is not known; then the group's lag is not known either
    until it stands at the end of the log. Code of the handler that subscribes to `patterns` wants
    none of the entries but those in the `chunk`.

    To look up one of many groups costs as much as all of them. `following` is the entry after
    `after`, where the caller knows it, and `read` how many entries the group has read at `upto`, as
    an earlier answer told: then the group is not looked up.
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
    """`position` is the last entry that the group was given, "" where there is no group any more.

    `is_moved`: the group stood where it was expected, and the chunk was opened. `is_ambiguous`: an
    entry may repeat an event (see `Fetched`). `has_open`: the group had pending deliveries, or open
    chunks whose lease is over; not looked at where a chunk was opened. `mean_us` and `open_chunks`,
    which are those of the worker, are 0 where no chunk was opened. `entries_read` is what Redis
    knows of the group's, negative if nothing. `is_unknown`: the group's node of a cluster is away,
    and the chunk may have been opened.
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
