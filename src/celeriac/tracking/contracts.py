"""What the workers of the bus have declared: for a check, and as a catalog."""

from __future__ import annotations

from collections import defaultdict

from celeriac.contract.catalog import UNKNOWN, EventInfo, Seen, VersionInfo, make_catalog
from celeriac.contract.check import REGISTRY, RunningReader
from celeriac.contract.judgement import Reader, Writer
from celeriac.contract.lock import LockedReader
from celeriac.errors import InvalidEvent
from celeriac.event import read_header
from celeriac.registry import is_alive
from celeriac.store.factory import Backend

MAX_LOOKED_AT = 500  # entries of each domain
# What the counts name all types beyond the first thousand.
OTHER_TYPES = "other"


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


def read_catalog(backend: Backend) -> list[EventInfo]:
    """Return the catalog of what workers have declared, of what they read and what was emitted.

    Blocks for some round trips, and one for each domain. Handlers of workers that declare nothing,
    since their celeriac is older, are in it without a verdict.
    """
    workers = {(one.handler, one.reads.digest): one.workers for one in running_readers(backend)}
    handlers, known = backend.registry.handlers(), backend.contracts.readers()
    readers = [
        Reader(name, record.service, REGISTRY, reads, workers=workers.get((name, made), ()))
        for name, record in handlers.items()
        for made, reads in known.get(name, {}).items()
    ]
    readers += [
        Reader(name, record.service, UNKNOWN, LockedReader(patterns=record.patterns))
        for name, record in handlers.items()
        if name not in known and record.patterns
    ]
    versions = [
        (one.type, VersionInfo(one.contract, one.service, one.declared_ms))
        for one in backend.contracts.contracts()
    ]
    readers.sort(key=lambda reader: reader.handler)
    return make_catalog(versions, readers, _seen(backend))


def _seen(backend: Backend) -> dict[str, Seen]:
    """How often each type was emitted, and when last among the newest entries of its domain."""
    domains = sorted(backend.event_log.domains())
    found: dict[str, Seen] = {}
    for domain, volume in zip(domains, backend.event_log.stream_stats(domains), strict=True):
        last: dict[str, int] = {}
        for entry in backend.event_log.read(domain, count=MAX_LOOKED_AT, newest_first=True):
            type_ = _type_of(entry.body)
            if type_:
                last.setdefault(type_, entry.time_ms)
        for type_ in {*volume.emitted, *last} - {OTHER_TYPES}:
            found[type_] = Seen(volume.emitted.get(type_, 0), last.get(type_, 0))
    return found


def _type_of(body: bytes | None) -> str:
    try:
        return read_header(body).type if body else ""
    except InvalidEvent:
        return ""
