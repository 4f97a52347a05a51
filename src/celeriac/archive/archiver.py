"""The handler of an archive: stores the event log of each domain in files.

To operators it is a batch handler with the pattern `#`: its consumer groups hold the trimming of
entries that are not stored. It reads larger chunks than a worker would pass to a function, and an
entry is completed only after its file is durable.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from threading import Event as Flag
from typing import Any

import redis

from celeriac.archive import SERVICE
from celeriac.archive.parquet import (
    FileLimits,
    NewFile,
    StoredEntry,
    make_file,
    read_types,
)
from celeriac.archive.storage import Storage, day_of
from celeriac.delivery import Completion, Delivery, FetchRequest, Group, Outcome
from celeriac.delivery.advance import Advance, NewChunk
from celeriac.delivery.chunk_store import new_chunk_id
from celeriac.dispatcher.groups import join, rejoin
from celeriac.dispatcher.maintenance import Maintenance
from celeriac.dispatcher.outage import is_logged, log_outage, outage_pause
from celeriac.errors import ArchiveError, ConfigurationError, NotFound
from celeriac.event import Event, key_in, type_in
from celeriac.event_log import Entry, GroupInfo, entry_key, group_info
from celeriac.executor.completion import Uncounted, Unreported
from celeriac.handler import Handler, HandlerOptions, Start, make_handler
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.service import worker_name
from celeriac.settings import VERSION, Settings
from celeriac.store.factory import Backend

logger = logging.getLogger(__name__)

STEP = 1000  # entries that are completed in one transition
PENDING = 500
POLL = 1.0  # seconds
MAX_ATTEMPTS = 1_000_000  # an entry is tried until its file is stored


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveOptions:
    """How events become files.

    Attributes:
        name: The handler is `archive.<name>`; two archives of one bus need two names.
        interval: Seconds that an event waits at most for its file.
        limits: Where a file ends.
        start: Where a new archive begins.
    """

    name: str = "events"
    interval: float = 300.0
    limits: FileLimits = field(default_factory=FileLimits)
    start: Start = "beginning"


def archive_handler(options: ArchiveOptions) -> Handler:
    """Return the handler that an archive is registered as."""

    def store(events: list[Event[Any]]) -> None:
        """Store events in Parquet files: celeriac archive."""
        raise NotImplementedError("the archive does not run in a worker")

    registered = HandlerOptions(name=options.name, batch=options.limits.events, start=options.start)
    return make_handler(store, ("#",), registered, service=SERVICE)


class Archiver:
    """Stores the events of a bus, one file after the other.

    Several may run for one archive: no event is stored twice, but they do not share the work.
    """

    def __init__(
        self, backend: Backend, settings: Settings, storage: Storage, options: ArchiveOptions
    ) -> None:
        self.backend, self.settings, self.storage = backend, settings, storage
        self.options = options
        self.handler = archive_handler(options)
        self.worker = worker_name(self.handler.id)
        self.stored = 0
        self._records: dict[str, HandlerRecord] = {}
        self._maintenance = Maintenance(lambda: backend, self._describe)
        self._stopped = Flag()
        # Domain → the position up to which this process has stored everything.
        self._stored_upto: dict[str, str] = {}

    def run(self) -> None:
        """Store events until stopped. Waits while Redis or the storage is unreachable."""
        failures = 0
        try:
            while not self._stopped.is_set():
                try:
                    self.run_once()
                    failures = 0
                    self._stopped.wait(POLL)
                except (redis.RedisError, ArchiveError) as error:
                    failures += 1
                    self._log_outage(error, failures)
                    self._stopped.wait(outage_pause(failures))
        finally:
            self._depart()

    def stop(self) -> None:
        """End `run` after the file that it stores now. May be called by a signal handler."""
        self._stopped.set()

    def run_once(self, *, flush: bool = False) -> int:
        """Store what is due, with `flush` everything; return how many events were stored.

        Raises ArchiveError, redis.RedisError, and ConfigurationError if an operator removed the
        handler.
        """
        before = self.stored
        for domain in self._join():
            while not self._stopped.is_set() and self._store_next(domain, flush):
                pass
        return self.stored - before

    def drain(self) -> int:
        """Store all waiting events and leave; return how many. Raises as `run_once`."""
        try:
            return self.run_once(flush=True)
        finally:
            self._depart()

    # -- membership

    def _join(self) -> Sequence[str]:
        """Join new domains, do the maintenance; return the domains to read."""
        handler, backend = self.handler, self.backend
        domains = backend.event_log.domains()
        known = self._records.get(handler.id)
        if known is None or not domains <= known.since.keys():
            records = join(backend, [handler], domains, registered=self._records)
            if not records:
                raise ConfigurationError(
                    f"{handler.id} was removed by an operator. Start `celeriac archive` again to "
                    "register it"
                )
            self._records = {handler.id: records[0]}
        since = self._records[handler.id].since
        self._maintenance.run(sorted(domains), handlers=self._records, discover=True)
        if not backend.circuits.get(handler.id).allows_runs:
            return []
        return sorted(since)

    def _describe(self) -> WorkerRecord:
        return WorkerRecord(
            name=self.worker,
            service=SERVICE,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            pool="archive",
            processes=1,
            queues=(self.handler.queue,),
            handlers=(self.handler.id,),
            patterns={self.handler.id: self.handler.patterns},
            version=VERSION,
        )

    def _depart(self) -> None:
        try:
            self.backend.registry.depart(self.worker)
        except redis.RedisError as error:
            logger.warning("celeriac: %s could not sign off: %s", self.worker, error)

    def _log_outage(self, error: Exception, failures: int) -> None:
        if isinstance(error, redis.RedisError):
            log_outage(error, failures, self.settings.redis_url)
        elif is_logged(failures):
            logger.warning("celeriac: %s; retrying", error)

    # -- files

    def _store_next(self, domain: str, flush: bool) -> bool:
        """Store the next file of a domain, or complete what is stored; return whether there may be
        more."""
        group = self.handler.group(domain)
        info = self._info(group)
        if info is None:
            return False
        if info.pending or info.chunks:
            self._complete_pending(group)
        position = info.last_delivered
        waiting = self.backend.event_log.read(domain, start=f"({position}", count=1)
        if not waiting:
            return False
        if self._stored_upto.get(domain) != position:
            # A new process, or one of two: another process may have stored the next entries.
            covered = self.storage.covered_until(domain, waiting[0].id)
            if covered is not None:
                return self._complete_covered(group, position, covered)
        if not (flush or self._is_due(info, waiting[0])):
            return False
        file = self._make(domain, f"({position}")
        return file is not None and self._store(group, position, file)

    def _info(self, group: Group) -> GroupInfo | None:
        info = group_info(self.backend.event_log, group.domain, group.handler)
        if info is not None:
            return info
        record = rejoin(self.backend, self.handler, group.domain)
        if record is not None:
            self._records = {record.id: record}
        return None

    def _is_due(self, info: GroupInfo, oldest: Entry) -> bool:
        if info.lag is not None and info.lag >= self.options.limits.events:
            return True
        age_ms = self.backend.registry.now_ms() - oldest.time_ms
        return age_ms >= self.options.interval * 1000

    def _make(self, domain: str, start: str, end: str = "+") -> NewFile | None:
        chunks = self.backend.chunks

        def find(entries: Sequence[tuple[Entry, str]]) -> frozenset[str]:
            return chunks.repetitions(domain, entries).certain if entries else frozenset()

        limits = self.options.limits
        return make_file(self.backend.event_log, domain, start, find, limits, end=end)

    def _store(self, group: Group, position: str, file: NewFile) -> bool:
        started = time.monotonic()
        if file.content and not self.storage.create(file.file, file.content):
            # Stored by another process, or by this one before its connection failed.
            self._stored_upto.pop(group.domain, None)
            return True
        took_us = int((time.monotonic() - started) * 1e6) // len(file.entries)
        self.stored += file.events
        logger.info(
            "celeriac: %s stored %d events of %s in %s (%d bytes)",
            self.handler.id,
            file.events,
            group.domain,
            file.file.path,
            len(file.content),
        )
        for at in range(0, len(file.entries), STEP):
            step = file.entries[at : at + STEP]
            if not self._complete(group, position, step, took_us):
                return True
            position = step[-1].id
        return True

    def _complete_covered(self, group: Group, position: str, covered: str) -> bool:
        """Complete the entries up to `covered`, which are stored."""
        for page in read_types(self.backend.event_log, group.domain, f"({position}", covered):
            if not self._complete(group, position, page, 0):
                return True
            position = page[-1].id
        return True

    def _complete(
        self, group: Group, position: str, entries: Sequence[StoredEntry], took_us: int
    ) -> bool:
        """Complete the entries after `position`; return False if the group is elsewhere."""
        backend, chunk, last = self.backend, new_chunk_id(), entries[-1].id
        self._stored_upto.pop(group.domain, None)
        new = NewChunk(chunk, position, last, len(entries))
        patterns = self.handler.patterns
        [moved] = backend.chunks.advance(
            self.worker, [Advance(group, position, last, len(entries), patterns, new)]
        )
        if not moved.is_moved:
            logger.warning(
                "celeriac: %s is at %s on %s, not at %s; another process runs this archive",
                group.handler,
                moved.position,
                group.domain,
                position,
            )
            return False
        if backend.chunks.begin(self.worker, group, chunk, read=False) is None:
            return False
        results, now_ms = Unreported(), moved.now_ms
        for entry in entries:
            if entry.type:
                results.of_type(entry.type).add(entry.id, took_us)
            else:
                results.ignored.append(entry.id)
        counts = Uncounted()
        counts.add(results, now_ms)
        completion = results.completion(last, len(entries), self.worker, now_ms, took_us, counts)
        if not backend.chunks.complete(self.worker, group, chunk, completion):
            return False
        self._stored_upto[group.domain] = last
        return True

    # -- entries that are pending: after a crash, or replayed by an operator

    def _complete_pending(self, group: Group) -> None:
        backend = self.backend
        backend.chunks.reclaim([group])
        [fetched] = backend.deliveries.fetch(
            self.worker, [FetchRequest(group, PENDING, reclaim=True, max_new=0)]
        )
        for delivery in fetched.deliveries:
            if delivery.body is None:
                continue
            self._ensure_stored(group.domain, delivery)
            self._complete_one(group, delivery, delivery.body)

    def _ensure_stored(self, domain: str, delivery: Delivery) -> None:
        """Store the part of the log around an entry that no file contains: files were deleted."""
        if self.storage.covered_until(domain, delivery.entry) is not None:
            return
        file = self._make(domain, delivery.entry, self._end_of_gap(domain, delivery.entry))
        if file is not None and file.content and self.storage.create(file.file, file.content):
            self.stored += file.events

    def _end_of_gap(self, domain: str, entry: str) -> str:
        position = self._position(domain)
        later = [
            first
            for first in self.storage.firsts(domain, day_of(entry))
            if entry_key(first) > entry_key(entry)
        ]
        return f"({later[0]}" if later else position

    def _position(self, domain: str) -> str:
        info = self._info(self.handler.group(domain))
        if info is None:
            raise NotFound(f"{self.handler.id} has no group in the domain {domain}")
        return info.last_delivered

    def _complete_one(self, group: Group, delivery: Delivery, body: bytes) -> None:
        deliveries, key = self.backend.deliveries, key_in(body)
        claimed = deliveries.claim(self.worker, group, [(delivery.entry, key)], MAX_ATTEMPTS)
        for claim in claimed:
            done = Completion(
                entry=claim.entry,
                event_key=key,
                attempt=claim.attempt,
                outcome=Outcome.PROCESSED,
                type=type_in(body),
            )
            deliveries.complete(self.worker, group, [done])
