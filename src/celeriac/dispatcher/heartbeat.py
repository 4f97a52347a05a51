"""What a worker writes with each beat: that it lives, and what the shared records lost of it."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping

from celeriac.delivery import Group
from celeriac.dispatcher.versions import patterns_served, reconcile
from celeriac.event.pattern import literal_domain
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.store.factory import Backend

logger = logging.getLogger(__name__)


def beat(backend: Backend, worker: WorkerRecord, own: MutableMapping[str, HandlerRecord]) -> None:
    """Write the beat, and register again each of the worker's own handlers whose record is missing
    or cannot be read. A registry that was deleted or damaged is whole again within a beat.

    `own` holds the records of the worker's handlers, and is brought up to date. Blocks for some
    round trips.
    """
    backend.registry.heartbeat(worker)
    named = {literal_domain(pattern) for record in own.values() for pattern in record.patterns}
    backend.event_log.register_domains(sorted(d for d in named if d is not None), bounded=False)
    for name in backend.registry.unregistered(own):
        if backend.registry.update(own[name]):
            logger.warning(
                "%s: its record in the registry was missing or invalid; it is registered again",
                name,
            )
    _reconcile(backend, worker, own)


def _reconcile(
    backend: Backend, worker: WorkerRecord, own: MutableMapping[str, HandlerRecord]
) -> None:
    """Bring the patterns in force up to date: see versions.py."""
    stored = dict(backend.registry.registered(own))
    differing = [
        name
        for name, record in stored.items()
        if record.leaving or set(record.patterns) != set(worker.patterns.get(name, ()))
    ]
    workers = backend.registry.workers() if differing else []
    now_ms = backend.registry.now_ms() if differing else 0
    for name in differing:
        code = worker.patterns.get(name)
        if code is None:
            continue
        served = patterns_served(workers, name, now_ms)
        record = reconcile(stored[name], own[name], code, served, now_ms)
        if record != stored[name]:
            _put_in_force(backend, stored[name], record, code)
        stored[name] = record
    own.update(stored)


def _put_in_force(
    backend: Backend, before: HandlerRecord, record: HandlerRecord, code: tuple[str, ...]
) -> None:
    gone = sorted(set(before.patterns) - set(record.patterns))
    if set(before.patterns) != set(record.patterns):
        for domain in record.since:
            backend.deliveries.note_patterns(Group(domain, record.id), code, gone)
    if not backend.registry.update(record):
        return
    for pattern in gone:
        logger.warning(
            "%s: no worker has had its pattern %s for a while, so it is not in force any more. Its "
            "events that waited are skipped: `celeriac replay` runs them once code has the pattern",
            record.id,
            pattern,
        )
    for pattern in sorted(record.leaving.keys() - before.leaving.keys()):
        logger.warning(
            "%s: no worker has its pattern %s any more. Its events wait for one; after 10 minutes "
            "they are skipped",
            record.id,
            pattern,
        )
