"""Replays from an archive: what is recorded of one, and the deliveries that it schedules."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import msgspec


class ArchivedDelivery(msgspec.Struct, frozen=True, gc=False):
    """An archived event for one handler.

    `entry` is its entry in the event log when it was archived, which may be trimmed. `addressed` is
    the event, addressed to the handler only.
    """

    entry: str
    event_key: str
    addressed: bytes


class ArchiveReplay(msgspec.Struct, frozen=True, kw_only=True):
    """A handler's replay from an archive in one domain: the last one, finished or not.

    Attributes:
        operation: Identifies the replay. The same arguments of the command have the same operation.
        until_ms: The replay ends with the last entry of this time, in ms since the epoch.
        about: The arguments, for people.
        started_ms: When it began, in ms since the epoch.
        position: The last archived entry that was scheduled or left as it is.
        copy: The entry of the last event that was appended again; empty without one.
        scheduled: Events that were scheduled.
        kept: Unfinished deliveries that were left as they are.
        is_finished: All archived events of the domain were scheduled or left as they are.
    """

    operation: str
    until_ms: int
    about: str
    started_ms: int
    position: str = "0-0"
    copy: str = ""
    scheduled: int = 0
    kept: int = 0
    is_finished: bool = False


class StepEnd(Enum):
    """How a step of a replay from an archive ended."""

    DONE = "done"
    # An ordered handler must first fetch the events that were appended again.
    BEHIND = "behind"
    # Another replay took the place of this one.
    REPLACED = "replaced"


@dataclass(frozen=True, slots=True)
class ArchiveReplayStep:
    """How a step ended, and the numbers of the whole replay after it: see ArchiveReplay."""

    end: StepEnd
    position: str = "0-0"
    scheduled: int = 0
    kept: int = 0
