"""Handlers in any language: register them, fetch their deliveries, complete them. Without HTTP."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from celeriac.delivery import Group
from celeriac.dispatcher.groups import join
from celeriac.dispatcher.poll_interval import IDLE
from celeriac.dispatcher.versions import interests_in_force
from celeriac.errors import LogFull
from celeriac.event import compile_patterns
from celeriac.handler import Handler
from celeriac.pull import completing
from celeriac.pull.completing import Completed
from celeriac.pull.fetching import Fetcher
from celeriac.pull.pull_state import PullState
from celeriac.pull.pulled import Pulled, PulledDelivery
from celeriac.pull.reference import Reference
from celeriac.pull.refusal import (
    HandlerRemoved,
    LimitReached,
    NotPulled,
    PullRefused,
    UnknownHandler,
)
from celeriac.pull.registration import handler_of, make_pull_handler, read_registration, split_id
from celeriac.pull.result import AttemptResult
from celeriac.pull.service_context import ServiceContext
from celeriac.registry import HandlerRecord
from celeriac.service import Service
from celeriac.tenant import all_marks, is_tenant_mark, needed_marks

logger = logging.getLogger(__name__)

MAX_HANDLERS = 1_000  # of a service

# Raises an error if the caller must not get deliveries of the handler that is registered like this.
Check = Callable[[HandlerRecord], None]


def allow(record: HandlerRecord) -> None:
    """Allow every caller."""


class PullHandlers:
    """The pull handlers of all services, as this process serves them.

    Any number of processes may serve the same handlers: their state is in the bus. Thread-safe.
    Methods block for round trips, and raise PullRefused and redis.RedisError.
    """

    def __init__(self, service: Service, clock: Callable[[], float] = time.monotonic) -> None:
        self._parent = service
        self._clock = clock
        self._lock = threading.Lock()
        self._contexts: dict[str, ServiceContext] = {}
        self._states: dict[str, PullState] = {}
        self._fetcher = Fetcher(clock)
        self._requires_signature = service.settings.require_signature

    # -- registration

    def register(self, id: str, body: Mapping[str, Any]) -> HandlerRecord:
        """Register a handler, or replace its registration; return its record. Idempotent.

        A new handler gets events from its `start`. A pattern that is dropped ceases at once: events
        that only it matched and that wait are recorded as skipped.
        """
        registration = read_registration(body)
        handler = make_pull_handler(id, registration, requires_signature=self._requires_signature)
        backend = self._parent.backend
        if handler.signed:
            self._parent.guard.check(signed=True)
        known = backend.registry.registered([id]).get(id)
        if known is not None and known.pull is None:
            raise NotPulled(
                f"{id} is a handler that workers of {handler.service} run. Choose another id"
            )
        if known is None:
            self._check_room(handler.service)
        try:
            backend.event_log.register_domains(sorted(handler.matcher.literal_domains))
        except LogFull as error:
            raise LimitReached(str(error), field="patterns") from None
        [record] = join(backend, [handler], backend.event_log.domains())
        record = self._drop_patterns(handler, record)
        for domain in record.since:
            backend.deliveries.note_patterns(handler.group(domain), handler.interests)
        self._use(record, handler)
        return record

    def _check_room(self, service: str) -> None:
        """Raise LimitReached if the service has MAX_HANDLERS: a token may name any of its ids."""
        records = self._parent.backend.registry.handlers().values()
        pulled = sum(record.service == service and record.pull is not None for record in records)
        if pulled >= MAX_HANDLERS:
            raise LimitReached(
                f"{service} has {pulled:,} pull handlers, which is the most of a service. Remove "
                "some of them with DELETE"
            )

    def _drop_patterns(self, handler: Handler, record: HandlerRecord) -> HandlerRecord:
        """Remove the patterns of earlier registrations; return the record."""
        gone = sorted(
            interests_in_force(record) - {*handler.patterns, *all_marks(handler.interests)}
        )
        if not gone:
            return record
        backend = self._parent.backend
        patterns = [text for text in gone if not is_tenant_mark(text)]
        retired = record.retired | dict.fromkeys(patterns, backend.registry.now_ms())
        record = replace(
            record,
            patterns=handler.patterns,
            tenants=needed_marks(all_marks(handler.interests)),
            added={p: at for p, at in record.added.items() if p in handler.patterns},
            leaving={},
            retired={p: at for p, at in retired.items() if p not in handler.patterns},
        )
        backend.registry.register(record)
        for domain in record.since:
            backend.deliveries.note_patterns(handler.group(domain), handler.interests, gone)
        return record

    def unregister(self, id: str) -> bool:
        """Remove a handler with its unfinished deliveries; return False if it was unknown.

        Its dead letters stay. Idempotent.
        """
        split_id(id)
        backend = self._parent.backend
        known = backend.registry.registered([id]).get(id)
        if known is None:
            return False
        if known.pull is None:
            raise NotPulled(f"{id} is run by workers; remove it with `celeriac handlers remove`")
        backend.circuits.resume(id)
        # First, so that no fetch creates the deleted group again.
        backend.registry.unregister(id)
        # Not in others: the user of a gateway may have no access to them.
        for domain in sorted(self._reached(known)):
            backend.event_log.leave(domain, id)
            backend.deliveries.forget(Group(domain, id))
        with self._lock:
            state = self._states.pop(id, None)
        if state is not None:
            state.context.forget(id)
        return True

    def _reached(self, record: HandlerRecord) -> Collection[str]:
        """Return the domains in which the handler may have a group."""
        domains = compile_patterns(*record.patterns, *record.retired).domains
        known = self._parent.backend.event_log.domains()
        return record.since.keys() | (known if domains is None else known & domains)

    def record(self, id: str) -> HandlerRecord:
        """Return the registration of a pull handler."""
        split_id(id)
        registry = self._parent.backend.registry
        record = registry.registered([id]).get(id)
        if record is None:
            if registry.was_removed(id):
                raise HandlerRemoved(f"{id} was removed. Register it again with PUT to continue")
            raise UnknownHandler(f"{id} is not registered. Register it with PUT first")
        if record.pull is None:
            raise NotPulled(f"{id} is a handler that workers run; its deliveries are not fetched")
        return record

    # -- deliveries

    def fetch(self, id: str, limit: int, check: Check = allow) -> Pulled:
        """Return up to `limit` deliveries. An attempt of each begins now.

        `check` is called with the registration first. Raises what it raises.
        """
        state = self._followed(id)
        check(state.record)
        return self._fetcher.fetch(state, limit)

    def complete(self, id: str, result: AttemptResult) -> Completed:
        """Record the result of an attempt. Raises LeaseLost if the attempt has ended."""
        return completing.complete(self._state(id), result)

    def complete_many(
        self, id: str, results: Sequence[AttemptResult]
    ) -> list[Completed | PullRefused]:
        """Record the results in order; return what became of each, or why it was refused.

        Raises redis.RedisError; the earlier results are recorded then. Repeat the call.
        """
        state, answers = self._state(id), list[Completed | PullRefused]()
        for result in results:
            try:
                answers.append(completing.complete(state, result))
            except PullRefused as error:
                answers.append(error)
        return answers

    def renew(self, id: str, reference: Reference, attempt: int) -> int:
        """Renew a lease; return its end in ms by the server's clock. Raises LeaseLost."""
        return completing.renew(self._state(id), reference, attempt)

    def release(self, id: str, deliveries: Sequence[PulledDelivery]) -> None:
        """Requeue deliveries whose client did not receive them. No attempt is counted."""
        given = [(delivery.reference, delivery.attempt) for delivery in deliveries]
        completing.release(self._state(id), given)

    def domains(self, id: str) -> Collection[str]:
        """Return the domains whose entries concern the handler. Does not block."""
        with self._lock:
            state = self._states.get(id)
        return () if state is None else tuple(state.record.since)

    # -- upkeep

    @property
    def contexts(self) -> Sequence[ServiceContext]:
        """The services whose handlers were used here."""
        with self._lock:
            return tuple(self._contexts.values())

    def close(self) -> None:
        """Sign off: this process serves no handlers any more."""
        for context in self.contexts:
            context.depart()

    # -- state

    def _state(self, id: str) -> PullState:
        """Return the state of the handler as it is registered now."""
        record = self.record(id)
        with self._lock:
            state = self._states.get(id)
        if state is not None and state.record == record:
            state.context.note_use(record)
            return state
        handler = handler_of(record, requires_signature=self._requires_signature)
        return self._use(record, handler)

    def _followed(self, id: str) -> PullState:
        """`_state`, after joining domains that appeared since."""
        state = self._state(id)
        if state.handler.matcher.domains is not None or (self._clock() - state.domains_at < IDLE):
            return state
        state.domains_at = self._clock()
        backend = self._parent.backend
        domains = backend.event_log.domains()
        if domains <= state.record.since.keys():
            return state
        records = join(backend, [state.handler], domains, registered=[id])
        if not records:
            raise HandlerRemoved(f"{id} was removed. Register it again with PUT to continue")
        for domain in records[0].since.keys() - state.record.since.keys():
            backend.deliveries.note_patterns(state.handler.group(domain), state.handler.interests)
        return self._use(records[0], state.handler)

    def _use(self, record: HandlerRecord, handler: Handler) -> PullState:
        context = self._context(handler.service)
        with self._lock:
            state = self._states.get(record.id)
            if state is None:
                state = self._states[record.id] = PullState(record, handler, context)
            else:
                state.use(record, handler)
        context.note_use(record)
        return state

    def _context(self, service: str) -> ServiceContext:
        with self._lock:
            context = self._contexts.get(service)
            if context is None:
                context = ServiceContext(self._parent, service, self._clock)
                self._contexts[service] = context
            return context
