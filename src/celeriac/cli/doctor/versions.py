"""Do all living workers have the same patterns of each handler?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from celeriac.cli.doctor.finding import BusSnapshot, Finding, ok, warn
from celeriac.cli.show import age
from celeriac.dispatcher.versions import RETIRE_AFTER_MS
from celeriac.registry import is_alive
from celeriac.visible import listed


def check_versions(snapshot: BusSnapshot) -> Iterator[Finding]:
    """One version of each handler's patterns, and a worker for each pattern in force."""
    faults = 0
    for record in snapshot.handlers.values():
        names: defaultdict[tuple[str, ...], list[str]] = defaultdict(list)
        for worker in snapshot.workers:
            if record.id in worker.patterns and is_alive(worker, snapshot.now_ms):
                names[tuple(sorted(worker.patterns[record.id]))].append(worker.name)
        if len(names) > 1:
            faults += 1
            told = "; ".join(
                f"{listed(sorted(some))}: {' '.join(patterns)}"
                for patterns, some in sorted(names.items())
            )
            text = f"workers disagree about the patterns of {record.id}: {told}"
            remedy = "finish the deploy, or the roll back: events of a pattern wait for its workers"
            yield warn("version", text, remedy)
        for pattern, since_ms in sorted(record.leaving.items()):
            faults += 1
            left = max(0, since_ms + RETIRE_AFTER_MS - snapshot.now_ms) / 1000
            text = (
                f"no worker has the pattern {pattern} of {record.id}, and its events wait; in "
                f"{age(left)} they are skipped"
            )
            remedy = "start a worker whose code has it; or wait, if you removed it on purpose"
            yield warn("version", text, remedy)
    if not faults and snapshot.handlers:
        yield ok("version", "workers agree about the patterns of their handlers")
