"""The handlers and consumer groups that a dispatcher serves.

They change while it runs: domains appear or are removed, queues are added or cancelled, an operator
removes a handler, another version of its code joins.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping

from celeriac.delivery import Group
from celeriac.delivery.fetch_size import FetchSize
from celeriac.dispatcher.domain_reader import DomainReader
from celeriac.dispatcher.group_state import NOW, UNKNOWN, GroupState
from celeriac.dispatcher.group_table import GroupTable, poll_at, wake
from celeriac.dispatcher.groups import join, leave_domains, rejoin, without_domains
from celeriac.dispatcher.handler_assignment import UnservedHandlers, served_handlers
from celeriac.dispatcher.poll_interval import IDLE
from celeriac.dispatcher.process_share import ProcessShare
from celeriac.dispatcher.task_sender import note_queued
from celeriac.event.pattern import literal_domain
from celeriac.handler import Handler
from celeriac.registry import HandlerRecord, WorkerRecord
from celeriac.service import Service
from celeriac.tenant import is_tenant_mark, other_interests

logger = logging.getLogger(__name__)

DOMAINS_PER_SECOND = 1000  # with more domains, new ones are searched less often than every IDLE


class Membership:
    """Belongs to one dispatcher. `handlers` are those that it serves, the most urgent first;
    `records` are their records in the registry. Methods that block, block for round trips and raise
    redis.RedisError."""

    def __init__(
        self,
        service: Service,
        queues: Callable[[], Collection[str]] | None,
        groups: GroupTable,
        share: ProcessShare,
        reader: DomainReader,
        clock: Callable[[], float],
    ) -> None:
        self.service = service
        self.groups = groups
        self._queues, self._share, self._reader, self._clock = queues, share, reader, clock
        self._consumed = None if queues is None else frozenset(queues())
        # Pool processes do not have handlers that are imported later.
        self._in_code = tuple(service.handlers.values())
        self.handlers: list[Handler] = served_handlers(self._in_code, self._consumed)
        self.records: dict[str, HandlerRecord] = {}
        self.domains: frozenset[str] = frozenset()
        self._removed: set[str] = set()
        self._unserved = UnservedHandlers()
        # Domains that were offered to wildcard patterns.
        self._offered: frozenset[str] = frozenset()
        self._joined = False
        self._looked_for_domains = NOW
        self._wildcard: tuple[list[Handler], bool] = ([], False)

    @property
    def has_wildcard(self) -> bool:
        """Whether any handler wants events of every domain."""
        handlers, has_wildcard = self._wildcard
        if handlers is not self.handlers:
            handlers = self.handlers
            has_wildcard = any(handler.matcher.domains is None for handler in handlers)
            self._wildcard = handlers, has_wildcard
        return has_wildcard

    def look_for_domains(self) -> None:
        """Search for new or removed domains in the next iteration."""
        self._looked_for_domains = NOW

    # -- queues

    def follow_queues(self, requeue: Callable[[GroupState], None]) -> bool:
        """Serve the handlers of an added queue, and leave those of a cancelled one to other
        workers.

        Returns whether there is such a queue. `requeue` requeues the queued deliveries of a group.
        """
        if self._queues is None:
            return False
        consumed = frozenset(self._queues())
        if consumed == self._consumed:
            return False
        before, after = self.handlers, served_handlers(self._in_code, consumed, self._removed)
        served = {handler.id for handler in after}
        for state in self.groups:
            if state.handler.id not in served:
                requeue(state)
        # No command follows: an iteration that failed above is repeated completely.
        self._consumed, self.handlers = consumed, after
        self._keep_groups({g.group for g in self.groups if g.handler.id in served})
        self.records = {name: r for name, r in self.records.items() if name in served}
        # Polled in order of urgency, as at the start.
        for state in self.groups:
            poll_at(state, NOW)
        self._joined = False
        for handler in before:
            if handler not in after:
                logger.info(
                    "celeriac: %s no longer runs here (queue %s)", handler.id, handler.queue
                )
        for handler in after:
            if handler not in before:
                logger.info("celeriac: %s runs here now, from queue %s", handler.id, handler.queue)
        return True

    def report_unserved(self, workers: Iterable[WorkerRecord]) -> None:
        """Warn of each handler that no living worker runs."""
        consumed = self._consumed
        elsewhere = [h for h in self._in_code if consumed is not None and h.queue not in consumed]
        if not elsewhere:
            return
        now_ms = self.service.backend.registry.now_ms()
        for handler in self._unserved.check(elsewhere, workers, now_ms):
            logger.warning(
                "no living worker runs %s, and this one does not consume its queue %s: its events "
                "wait in the log. Start a worker with -Q %s, or add the queue here: celery -A "
                "<module> control add_consumer %s",
                handler.id,
                *[handler.queue] * 3,
            )

    # -- domains and groups

    def join_domains(self) -> None:
        """Join the handlers to new domains, and leave removed ones."""
        now = self._clock()
        pause = max(IDLE, len(self._offered) / DOMAINS_PER_SECOND)
        if self._joined and now - self._looked_for_domains < pause:
            return
        self._looked_for_domains = now
        backend = self.service.backend
        domains = backend.event_log.domains() if self.has_wildcard else frozenset()
        self._drop_forgotten(self._offered - domains)
        if self._joined and domains <= self._offered:
            return
        joined = {state.group for state in self.groups}
        records = join(backend, self.handlers, domains, joined, self.records)
        self.records = {record.id: record for record in records}
        for handler in self.handlers:
            if handler.id not in self.records:
                self._drop_handler(handler)
        # Not `domains`: domains that this join announced were not offered to wildcards yet.
        self._offered = domains
        for handler in self.handlers:
            for domain in self.records[handler.id].since:
                self._serve(domain, handler)
        self.groups.order([handler.id for handler in self.handlers])
        self._reader.serve(self.groups)
        self.domains = self.groups.domains | domains
        self._joined = True

    def _serve(self, domain: str, handler: Handler) -> None:
        group = handler.group(domain)
        if group not in self.groups:
            of = self._share.handler(handler.id)
            state = GroupState(group, handler, of, FetchSize(self.service.settings.max_chunk))
            self._note_patterns(state)
            self.groups.add(state)
            of.groups.append(state)

    # -- other versions of the handlers

    def _note_patterns(self, state: GroupState) -> None:
        deliveries = self.service.backend.deliveries
        state.in_force = deliveries.note_patterns(state.group, state.handler.interests)

    def note_in_force(self, state: GroupState, patterns: tuple[str, ...]) -> None:
        """Apply the patterns in force that the store returned; add missing patterns of this
        code."""
        before, handler = state.in_force, state.handler
        if before == patterns:
            return
        if other_interests(handler.interests, patterns):
            self._note_patterns(state)
            return
        state.in_force = patterns
        if before and not {*before} <= {*patterns}:
            self.records |= self.service.backend.registry.registered([handler.id])

    def retired(self, state: GroupState) -> Mapping[str, int]:
        """Return the patterns that are no longer in force, and since when (ms)."""
        record = self.records.get(state.handler.id)
        if record is None or not record.retired:
            return {}
        domain = state.group.domain
        return {p: at for p, at in record.retired.items() if literal_domain(p) in (None, domain)}

    def is_left_to_others(self, state: GroupState) -> bool:
        """Return whether only other versions of the handler subscribe to the domain."""
        domains, domain = state.handler.matcher.domains, state.group.domain
        if domains is None or domain in domains:
            return False
        others = other_interests(state.in_force, state.handler.interests)
        patterns = (text for text in others if not is_tenant_mark(text))
        return any(literal_domain(pattern) in (None, domain) for pattern in patterns)

    def may_share(self, state: GroupState) -> bool:
        """Return whether entries that the handler does not want can be skipped: no other version of
        it wants them, and no pattern that it had before."""
        return (
            not other_interests(state.in_force, state.handler.interests)
            and not self.retired(state)
            and not self.is_left_to_others(state)
        )

    # -- handlers and groups that are no longer served

    def _drop_forgotten(self, domains: Collection[str]) -> None:
        """Stop serving domains that were removed as empty, except those that a handler names."""
        gone = frozenset(domains) & self.service.backend.event_log.forgotten() if domains else ()
        if not gone:
            return
        self._offered -= gone
        self.domains -= gone
        dropped = {
            state.group
            for state in self.groups
            if state.group.domain in gone and not _names(state.handler, state.group)
        }
        leave_domains(self.service.backend, {group.handler for group in dropped}, gone)
        for name, record in self.records.items():
            self.records[name] = without_domains(record, gone)
        self._keep_groups({state.group for state in self.groups} - dropped)

    def _keep_groups(self, kept: Collection[Group]) -> None:
        """Drop all other groups."""
        for state in self.groups.keep(kept):
            note_queued(state, 0)
            self._share.drop(state)
            state.of.groups.remove(state)
        self._reader.serve(self.groups)

    def join_again(self, groups: Iterable[GroupState]) -> None:
        """Join groups that are gone, unless their domain or their handler was removed."""
        for state in groups:
            group, handler = state.group, state.handler
            if group not in self.groups:
                continue
            if (
                not _names(handler, group)
                and group.domain in self.service.backend.event_log.forgotten()
            ):
                self._drop_forgotten({group.domain})
                continue
            record = rejoin(self.service.backend, handler, group.domain)
            if record is None:
                self._drop_handler(handler)
                continue
            self.records[handler.id] = record
            state.position = UNKNOWN
            state.read_separately()
            wake([state], new=True, pending=True)
            logger.warning("%s: its group on %s was gone; joined again", handler.id, group.domain)

    def _drop_handler(self, handler: Handler) -> None:
        logger.warning(
            "%s was removed by an operator; this worker no longer runs it. Restart the worker to "
            "register it again",
            handler.id,
        )
        self._removed.add(handler.id)
        self.handlers = [h for h in self.handlers if h.id != handler.id]
        self.records.pop(handler.id, None)
        self._keep_groups({g.group for g in self.groups if g.handler.id != handler.id})
        wake(self.groups)


def _names(handler: Handler, group: Group) -> bool:
    """Return whether a pattern names the domain: such a domain is read even if empty."""
    return any(pattern.partition(".")[0] == group.domain for pattern in handler.patterns)
