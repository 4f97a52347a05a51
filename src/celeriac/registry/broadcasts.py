"""The broadcast handlers that live: they are registered by the heartbeats of their workers only."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from celeriac.registry.registry import WorkerRecord


@dataclass(frozen=True, slots=True)
class LiveBroadcast:
    """A broadcast handler with the workers that call it. `patterns` are those of all versions.

    `instances` is how often each event is handled: once in each worker, or in each pool process.
    """

    id: str
    service: str
    scope: str
    patterns: tuple[str, ...]
    workers: tuple[str, ...]
    instances: int


def live_broadcasts(workers: Iterable[WorkerRecord]) -> list[LiveBroadcast]:
    """Return the broadcast handlers of these workers, sorted by id. Pure."""
    by_id: dict[str, list[WorkerRecord]] = {}
    for worker in workers:
        for id in worker.broadcasts:
            by_id.setdefault(id, []).append(worker)
    return [_live(id, by_id[id]) for id in sorted(by_id)]


def _live(id: str, workers: list[WorkerRecord]) -> LiveBroadcast:
    records = [worker.broadcasts[id] for worker in workers]
    patterns = dict.fromkeys(pattern for record in records for pattern in record.patterns)
    pairs = zip(workers, records, strict=True)
    return LiveBroadcast(
        id=id,
        service=workers[0].service,
        scope=records[-1].scope,
        patterns=tuple(patterns),
        workers=tuple(sorted(worker.name for worker in workers)),
        instances=sum(_instances(worker, record.scope) for worker, record in pairs),
    )


def _instances(worker: WorkerRecord, scope: str) -> int:
    # Other pools run in the worker's own process.
    return worker.processes if scope == "process" and worker.pool == "prefork" else 1
