"""Check that all running workers have the same patterns of each handler."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, ok, warn
from celeriac.cli.show import duration
from celeriac.dispatcher.versions import RETIRE_AFTER_MS
from celeriac.registry import is_alive
from celeriac.tenant import interest_text
from celeriac.visible import listed


def check_versions(snapshot: BusSnapshot) -> Iterator[Finding]:
    """Check that each handler has one set of patterns, and each pattern a running worker."""
    faults = 0
    for record in snapshot.handlers.values():
        names: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for worker in snapshot.workers:
            if record.id in worker.patterns and is_alive(worker, snapshot.now_ms):
                code = (*worker.patterns[record.id], *worker.tenants.get(record.id, ()))
                names[tuple(sorted(code))].append(worker.name)
        if len(names) > 1:
            faults += 1
            patterns_of = "; ".join(
                f"{listed(sorted(workers))}: {' '.join(patterns)}"
                for patterns, workers in sorted(names.items())
            )
            text = f"workers disagree about the events of {record.id}: {patterns_of}"
            remedy = "finish the deploy or the rollback: events wait for workers with their pattern"
            yield warn("version", text, remedy)
        for pattern, since_ms in sorted(record.leaving.items()):
            faults += 1
            remaining_s = max(0, since_ms + RETIRE_AFTER_MS - snapshot.now_ms) / 1000
            text = (
                f"no worker has the {interest_text(pattern)} of {record.id}; its events wait, and "
                f"are skipped in {duration(remaining_s)}"
            )
            remedy = "start a worker whose code has it; if you removed it on purpose, wait"
            yield warn("version", text, remedy)
    if not faults and snapshot.handlers:
        yield ok("version", "workers agree on the patterns of their handlers")
