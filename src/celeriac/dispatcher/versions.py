"""Several versions of a handler's code at once, as in a rolling deployment or a rollback. Pure.

A pattern is in force from when a worker joins with it until RETIRE_AFTER_MS after the last worker
that has it. During that time, code without the pattern leaves its events to code that has it. The
tenants of `tenants=` are in force in the same way, as marks: see tenant.py.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.tenant import all_marks, is_tenant_mark, needed_marks

RETIRE_AFTER_MS = 600_000
LIVES_WITHIN_MS = 15_000  # three heartbeats
MAX_RETIRED = 20


def patterns_in_force(code: Iterable[str], known: HandlerRecord | None) -> tuple[str, ...]:
    """Return the patterns of this code, then those of other versions."""
    return tuple(dict.fromkeys((*code, *(known.patterns if known else ()))))


def marks_in_force(code: Iterable[str], known: HandlerRecord | None) -> tuple[str, ...]:
    """Return the marks of this code and of other versions."""
    return needed_marks(all_marks(code) | (all_marks(known.tenants) if known else frozenset()))


def interests_in_force(record: HandlerRecord) -> frozenset[str]:
    """Return the patterns and all marks in force."""
    return frozenset(record.patterns) | all_marks(record.tenants)


def interests_of(worker: WorkerRecord, handler: str) -> frozenset[str]:
    """Return the patterns and all marks of a worker's code; none if it has no such handler."""
    patterns = worker.patterns.get(handler)
    if patterns is None:
        return frozenset()
    return frozenset(patterns) | all_marks(worker.tenants.get(handler, ()))


def interests_served(workers: Iterable[WorkerRecord], handler: str, now_ms: int) -> frozenset[str]:
    """Return the patterns and marks that the code of any living worker has for the handler."""
    living = (worker for worker in workers if now_ms - worker.beat_ms <= LIVES_WITHIN_MS)
    return frozenset().union(*(interests_of(worker, handler) for worker in living))


def reconcile(
    stored: HandlerRecord,
    registered: HandlerRecord,
    code: Collection[str],
    served: Collection[str],
    now_ms: int,
) -> HandlerRecord:
    """Return the corrected record of a handler.

    Args:
        stored: The record in the registry.
        registered: The record that this worker registered.
        code: The patterns and marks of this worker's code.
        served: The patterns and marks of the code of all workers.
    """
    patterns = patterns_in_force((p for p in code if not is_tenant_mark(p)), stored)
    marks = all_marks(code) | all_marks(stored.tenants)
    since = stored.since
    if len(patterns) > len(stored.patterns):
        # Overwritten by a worker that had not read it yet.
        since = registered.since | since
    living = {*code, *all_marks(code), *served}
    leaving = {
        p: stored.leaving.get(p, now_ms) for p in (*patterns, *sorted(marks)) if p not in living
    }
    gone = {p for p, at_ms in leaving.items() if now_ms - at_ms >= RETIRE_AFTER_MS}
    in_force = tuple(p for p in patterns if p not in gone)
    retired = stored.retired | {p: now_ms for p in sorted(gone) if not is_tenant_mark(p)}
    retired = {p: at_ms for p, at_ms in retired.items() if p not in living}
    last = sorted(retired.items(), key=lambda item: item[1])[-MAX_RETIRED:]
    # Two versions must not overwrite each other repeatedly because of the order only.
    unchanged = set(in_force) == set(stored.patterns)
    return msgspec.structs.replace(
        stored,
        patterns=stored.patterns if unchanged else in_force,
        tenants=needed_marks(marks - gone),
        since=since,
        added={p: at for p, at in (registered.added | stored.added).items() if p in in_force},
        leaving={p: at_ms for p, at_ms in leaving.items() if p not in gone},
        retired=dict(last),
    )
