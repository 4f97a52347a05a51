"""Send a worker's heartbeat, and restore its records if they were lost."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping

from celeriac.delivery import Group
from celeriac.dispatcher.versions import (
    interests_in_force,
    interests_of,
    interests_served,
    reconcile,
)
from celeriac.event.pattern import literal_domain
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.store.factory import Backend
from celeriac.tenant import interest_text

logger = logging.getLogger(__name__)


def send_heartbeat(
    backend: Backend, worker: WorkerRecord, handlers: MutableMapping[str, HandlerRecord]
) -> None:
    """Write the heartbeat, and register each of the worker's handlers again whose record is missing
    or invalid. So a deleted or damaged registry is restored within one heartbeat.

    `handlers` are the records of the worker's handlers; they are updated. Blocks for a few round
    trips.
    """
    backend.registry.heartbeat(worker)
    named = {literal_domain(p) for record in handlers.values() for p in record.patterns}
    backend.event_log.register_domains(sorted(d for d in named if d is not None), bounded=False)
    for name in backend.registry.unregistered(handlers):
        if backend.registry.update(handlers[name]):
            logger.warning(
                "%s: its record in the registry was missing or invalid; it is registered again",
                name,
            )
    _reconcile(backend, worker, handlers)


def _reconcile(
    backend: Backend, worker: WorkerRecord, handlers: MutableMapping[str, HandlerRecord]
) -> None:
    """Update the patterns and tenants in force: see versions.py."""
    stored = dict(backend.registry.registered(handlers))
    differing = [
        name
        for name, record in stored.items()
        if record.leaving or interests_in_force(record) != interests_of(worker, name)
    ]
    workers = backend.registry.workers() if differing else []
    now_ms = backend.registry.now_ms() if differing else 0
    for name in differing:
        code = worker.patterns.get(name)
        if code is None:
            continue
        code = (*code, *worker.tenants.get(name, ()))
        served = interests_served(workers, name, now_ms)
        record = reconcile(stored[name], handlers[name], code, served, now_ms)
        if record != stored[name]:
            _put_in_force(backend, stored[name], record, code)
        stored[name] = record
    handlers.update(stored)


def _put_in_force(
    backend: Backend, before: HandlerRecord, record: HandlerRecord, code: tuple[str, ...]
) -> None:
    gone = sorted(interests_in_force(before) - interests_in_force(record))
    if interests_in_force(before) != interests_in_force(record):
        for domain in record.since:
            backend.deliveries.note_patterns(Group(domain, record.id), code, gone)
    if not backend.registry.update(record):
        return
    for pattern in gone:
        logger.warning(
            "%s: no worker has had its %s for a while, so it is no longer in force. Its "
            "waiting events are skipped; `celeriac replay` runs them once code has it again",
            record.id,
            interest_text(pattern),
        )
    for pattern in sorted(record.leaving.keys() - before.leaving.keys()):
        logger.warning(
            "%s: no worker has its %s any more. Its events wait for one; after 10 minutes "
            "they are skipped",
            record.id,
            interest_text(pattern),
        )
