"""What the workers of the bus have declared, as writers and readers of a check."""

from __future__ import annotations

from collections import defaultdict

from celeriac.contract.check import REGISTRY, RunningReader
from celeriac.contract.judgement import Writer
from celeriac.registry import is_alive
from celeriac.subscription import Backend


def registered_writers(backend: Backend) -> list[Writer]:
    """Return each version that a worker has declared."""
    return [
        Writer(
            one.type,
            one.contract.version,
            one.contract.schema,
            one.contract.digest,
            REGISTRY,
            one.contract.owner or one.service,
        )
        for one in backend.contracts.contracts()
    ]


def running_readers(backend: Backend) -> list[RunningReader]:
    """Return what the handlers of living workers read, each with the workers' names."""
    known, now = backend.contracts.readers(), backend.registry.now_ms()
    running: dict[tuple[str, str], list[str]] = defaultdict(list)
    for worker in backend.registry.workers():
        if is_alive(worker, now):
            for handler, made in worker.reads.items():
                running[handler, made].append(worker.name)
    return [
        RunningReader(handler, known[handler][made], tuple(sorted(names)))
        for (handler, made), names in sorted(running.items())
        if made in known.get(handler, {})
    ]
