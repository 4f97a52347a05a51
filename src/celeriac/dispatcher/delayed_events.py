"""Append delayed events to the log when they are due, if this service may."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from itertools import islice

import redis

from celeriac.service import Service
from celeriac.store.redis.connection import is_refused

logger = logging.getLogger(__name__)

# Domains without a wakeup stream for this service, or without a wakeup: each call polls this many
# of them in rotation, or all if there are no more.
PART = 64


class DelayedEvents:
    """Works on the domains that the service reads and on those that it emits (setting `emits`).

    The ACL of Redis may forbid a service that only reads a domain to append to its log. Such a
    domain is left to the workers of a service that emits it.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._refused: set[str] = set()
        self._next: dict[str, int] = {}
        self._begin = 0

    def __call__(
        self, domains: Iterable[str], woken: Collection[str] = ()
    ) -> Sequence[tuple[int, int | None]]:
        """Append due events. Blocks for a round trip or two.

        Returns the number of moved events and the time in ms of the next one for each polled
        domain, and the known time of the next event for each other domain. `woken` are domains in
        which an event may have become the next one.
        """
        emitted = self._service.settings.emitted_domain_names
        allowed = sorted({*domains, *emitted} - self._refused)
        if not allowed:
            return []
        polled = self._polled(allowed, woken)
        answers = self._enqueue_due(polled)
        for domain, (_, following) in zip(polled, answers, strict=True):
            if following is None:
                self._next.pop(domain, None)
            else:
                self._next[domain] = following
        others = self._next.keys() - set(polled)
        return [*answers, *((0, self._next[domain]) for domain in others)]

    def _polled(self, allowed: list[str], woken: Collection[str]) -> list[str]:
        if len(allowed) <= PART:
            return allowed
        known = set(allowed)
        self._next = {domain: at for domain, at in self._next.items() if domain in known}
        now = self._service.backend.registry.now_ms() if self._next else 0
        due = {domain for domain, at in self._next.items() if at <= now}
        self._begin %= len(allowed)
        rotated = [*allowed[self._begin :], *allowed[: self._begin]]
        self._begin += PART
        return sorted(due | (set(woken) & known) | set(islice(rotated, PART)))

    def _enqueue_due(self, domains: list[str]) -> Sequence[tuple[int, int | None]]:
        try:
            return self._service.backend.event_log.enqueue_due_many(domains)
        except redis.ResponseError as error:
            if not is_refused(error):
                raise
        return [self._alone(domain) for domain in domains]

    def _alone(self, domain: str) -> tuple[int, int | None]:
        try:
            return self._service.backend.event_log.enqueue_due(domain)
        except redis.ResponseError as error:
            if not is_refused(error):
                raise
            self._refused.add(domain)
            logger.info(
                "celeriac: delayed events of %s are left to the workers of a service that emits "
                "it, with CELERIAC_EMITTED_DOMAINS=%s: the ACL of Redis forbids it here",
                domain,
                domain,
            )
            return 0, None
