"""The contracts that workers have declared, for checks and as a catalog."""

from __future__ import annotations

from collections import defaultdict

from celeriac.contract.catalog import UNKNOWN, EventInfo, Seen, VersionInfo, make_catalog
from celeriac.contract.check import REGISTRY, RunningReader
from celeriac.contract.judgement import HandlerReader, Writer
from celeriac.contract.lock import LockedReader
from celeriac.errors import InvalidEvent
from celeriac.event import read_header
from celeriac.registry import is_alive
from celeriac.store.factory import Backend

MAX_READ = 500  # entries read per domain
# The counters' name for all types beyond the first thousand.
OTHER_TYPES = "other"


def registered_writers(backend: Backend) -> list[Writer]:
    """Return each version that a worker has declared."""
    return [
        Writer(
            version.type,
            version.contract.version,
            version.contract.schema,
            version.contract.digest,
            REGISTRY,
            version.contract.owner or version.service,
        )
        for version in backend.contracts.contracts()
    ]


def running_readers(backend: Backend) -> list[RunningReader]:
    """Return what the handlers of running workers read, with the workers' names."""
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
    """Return the catalog of declared versions, readers and emitted types.

    Blocks for some round trips, and one per domain. Handlers of old workers that declare nothing
    are included without a check.
    """
    workers = {
        (version.handler, version.reads.digest): version.workers
        for version in running_readers(backend)
    }
    handlers, known = backend.registry.handlers(), backend.contracts.readers()
    readers = [
        HandlerReader(name, record.service, REGISTRY, reads, workers=workers.get((name, made), ()))
        for name, record in handlers.items()
        for made, reads in known.get(name, {}).items()
    ]
    readers += [
        HandlerReader(name, record.service, UNKNOWN, LockedReader(patterns=record.patterns))
        for name, record in handlers.items()
        if name not in known and record.patterns
    ]
    versions = [
        (version.type, VersionInfo(version.contract, version.service, version.declared_ms))
        for version in backend.contracts.contracts()
    ]
    readers.sort(key=lambda reader: reader.handler)
    return make_catalog(versions, readers, _seen(backend))


def _seen(backend: Backend) -> dict[str, Seen]:
    """Return the emits of each type, and its time among the newest entries of its domain."""
    domains = sorted(backend.event_log.domains())
    seen: dict[str, Seen] = {}
    for domain, volume in zip(domains, backend.event_log.stream_stats(domains), strict=True):
        last: dict[str, int] = {}
        for entry in backend.event_log.read(domain, count=MAX_READ, newest_first=True):
            type_ = _type_of(entry.body)
            if type_:
                last.setdefault(type_, entry.time_ms)
        for type_ in {*volume.emitted, *last} - {OTHER_TYPES}:
            seen[type_] = Seen(volume.emitted.get(type_, 0), last.get(type_, 0))
    return seen


def _type_of(body: bytes | None) -> str:
    try:
        return read_header(body).type if body else ""
    except InvalidEvent:
        return ""
