"""The registry of handlers and workers."""

from celeriac.registry.broadcasts import LiveBroadcast, live_broadcasts
from celeriac.registry.pull_options import PullBreaker, PullDebounce, PullOptions
from celeriac.registry.registry import (
    BroadcastRecord,
    HandlerRecord,
    Registry,
    WorkerRecord,
    is_alive,
)
from celeriac.registry.scale_target import ScaleTargetRecord, note_answer, targets_of

__all__ = [
    "BroadcastRecord",
    "HandlerRecord",
    "LiveBroadcast",
    "PullBreaker",
    "PullDebounce",
    "PullOptions",
    "Registry",
    "ScaleTargetRecord",
    "WorkerRecord",
    "is_alive",
    "live_broadcasts",
    "note_answer",
    "targets_of",
]
