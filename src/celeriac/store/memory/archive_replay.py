"""Replays from an archive in memory: see lua/begin_archive_replay.lua and replay_archived.lua."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from celeriac.delivery.archive_replay import (
    ArchivedDelivery,
    ArchiveReplay,
    ArchiveReplayStep,
    StepEnd,
)
from celeriac.event_log import EntryKind, entry_key
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.store.memory.transitions import Transitions


def begins(stored: ArchiveReplay | None, replay: ArchiveReplay, replaces: bool) -> bool:
    """Return whether the replay takes the place of the stored one."""
    if stored is None:
        return True
    if stored.operation == replay.operation:
        return stored.is_finished and stored.started_ms < replay.started_ms
    return stored.is_finished or replaces


def replay_archived(
    moves: Transitions,
    event_log: MemoryEventLog,
    operation: str,
    deliveries: Sequence[ArchivedDelivery],
    note: bytes,
) -> ArchiveReplayStep:
    """Schedule the deliveries, and move the handler's replay past them."""
    handler_store = moves.handler_store
    replay = handler_store.archive_replay
    if replay is None or replay.operation != operation:
        return ArchiveReplayStep(StepEnd.REPLACED)
    end = StepEnd.DONE
    for delivery in deliveries:
        if entry_key(delivery.entry) <= entry_key(replay.position):
            continue
        if moves.is_unfinished(delivery.entry, delivery.event_key):
            replay = replace(replay, position=delivery.entry, kept=replay.kept + 1)
            continue
        copy = replay.copy
        if moves.body(delivery.entry) is None:
            moves.begin_again(delivery.entry, delivery.event_key, note)
            handler_store.verified.drop(delivery.event_key)
            copy = event_log.append(moves.group.domain, delivery.addressed, EntryKind.REDRIVEN)
        elif _is_ordered(moves) and copy and moves.consumers.waits_for(copy):
            end = StepEnd.BEHIND
            break
        else:
            moves.replay(delivery.entry, delivery.event_key, note)
        replay = replace(replay, position=delivery.entry, copy=copy, scheduled=replay.scheduled + 1)
    handler_store.archive_replay = replay
    return ArchiveReplayStep(end, replay.position, replay.scheduled, replay.kept)


def _is_ordered(moves: Transitions) -> bool:
    return moves.flow_control is not None and moves.flow_control.ordered
