"""Decide how many events one Celery task delivers. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from celeriac.delivery import Completion, Group, Outcome
from celeriac.event import EventHeader
from celeriac.event_log import Entry
from celeriac.handler import Handler
from celeriac.settings import Settings

# A smaller chunk costs mostly Celery's own millisecond, so it is not split among processes.
WORTH_A_TASK_US = 2000
MAX_SHOWN = 255


class Item(msgspec.Struct, frozen=True, gc=False):
    """One delivery of a chunk.

    `lost_runs` is 0 unless the last run lost its lease. `together` is equal for deliveries that the
    handler receives in one list.
    """

    entry: str
    attempts: int
    event: EventHeader
    lost_runs: int = 0
    together: str = ""

    def coalesced(self, into: str) -> Completion:
        """Return its completion if the entry `into` is handled in its place."""
        outcome = Outcome.COALESCED
        return Completion(
            self.entry, self.event.key, self.attempts, outcome, type=self.event.type, into=into
        )

    def requeued(self, delay_ms: int) -> Completion:
        """Return a completion that schedules it after the delay, without counting an attempt."""
        return Completion(
            self.entry, self.event.key, self.attempts, Outcome.REQUEUED, delay_ms=delay_ms
        )


@dataclass(frozen=True, slots=True)
class Chunk:
    """The content of one delivery task: events of one handler in one domain, in log order.

    These are pending deliveries or, with an `id`, an open chunk of the store. `items` are then the
    entries that the handler wants, and `entries` all of them if the worker's own pool runs it. The
    process may fetch `more` of the following entries at once, 0 for none. If it `stays`, the worker
    that fetched the deliveries must run them, as long as its pool is reachable.
    """

    handler: Handler
    group: Group
    items: tuple[Item, ...]
    stays: bool = False
    id: str = ""
    entries: tuple[Entry, ...] | None = None
    more: int = 0

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The (entry, event key) pairs."""
        return [(item.entry, item.event.key) for item in self.items]

    def describe(self) -> dict[str, Any]:
        """Return what Flower shows of the delivery task: types and ids, never data.

        Flower keeps it for each task, so each value has at most MAX_SHOWN characters.
        """
        first = self.items[0].event
        if len(self.items) == 1:
            shown: dict[str, Any] = {"event": first.type, "id": first.id}
            if first.subject is not None:
                shown["subject"] = _cut(first.subject)
            if self.items[0].attempts:
                shown["attempt"] = self.items[0].attempts + 1
            return shown
        types = sorted({item.event.type for item in self.items})
        ids = [item.event.id for item in self.items]
        return {"events": len(ids), "event": _cut(" ".join(types)), "id": ids[0], "last": ids[-1]}


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else f"{text[: MAX_SHOWN - 1]}…"


def chunk_size(handler: Handler, mean_us: int, ready: int, processes: int, s: Settings) -> int:
    """Return the events of one task: about `chunk_time` of work, at least 1, at most `max_chunk`.

    An unmeasured handler starts with 1. A handler with a time limit gets 1, so that the limit
    applies to one event. Ready events are spread over the processes if the parts are worth a task.
    """
    if handler.time_limit or handler.soft_time_limit:
        return 1 if handler.batch is None else handler.batch
    if mean_us <= 0:
        return handler.batch or 1
    max_events = max(1, min(s.max_chunk, int(s.chunk_time * 1e6 / mean_us)))
    share = math.ceil(ready / max(1, processes))
    worth = math.ceil(WORTH_A_TASK_US / mean_us)
    return max(min(max_events, max(share, worth)), handler.batch or 1)


def limit(handler: Handler, mean_us: int, processes: int, s: Settings) -> int:
    """Return how many deliveries one worker may queue: a few full chunks for each process."""
    full = chunk_size(handler, mean_us, s.max_chunk * processes, processes, s)
    max_queued = full * processes * s.prefetch
    if handler.per_second is not None:
        max_queued = min(max_queued, max(1, math.ceil(handler.per_second)))
    return max_queued


def split(
    handler: Handler,
    group: Group,
    items: Sequence[Item],
    mean_us: int,
    processes: int,
    s: Settings,
    *,
    more: bool = False,
) -> list[Chunk]:
    """Split items into chunks, in order; an item that was begun before is alone in its chunk.

    So a delivery that failed or whose process died affects no other. If `more` items will follow,
    these need not be spread over the processes.
    """
    alone = [item for item in items if item.attempts > 0]
    fresh = [item for item in items if item.attempts == 0]
    ready = s.max_chunk * processes if more else len(fresh)
    size = chunk_size(handler, mean_us, ready, processes, s)
    together = [fresh[i : i + size] for i in range(0, len(fresh), size)]
    groups = [[item] for item in alone] + together
    if handler.flow_control is not None and handler.flow_control.keep == "all":
        groups = [[item] for item in alone] + _lists(fresh)
    return [Chunk(handler, group, tuple(state)) for state in groups]


def first_calls(items: Sequence[Item], count: int) -> tuple[list[Item], list[Item]]:
    """Return the items of the first `count` calls of the handler, and the others. Items that it
    receives in one list are one call."""
    calls: set[str] = set()
    kept, rest = [], []
    for item in items:
        call = item.together or item.entry
        if call in calls or len(calls) < count:
            calls.add(call)
            kept.append(item)
        else:
            rest.append(item)
    return kept, rest


def _lists(items: Sequence[Item]) -> list[list[Item]]:
    """Return the events of each debounced key, in one list."""
    lists: dict[str, list[Item]] = {}
    for item in items:
        lists.setdefault(item.together or item.entry, []).append(item)
    return list(lists.values())
