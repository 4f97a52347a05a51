"""Moving postponed events into the log when their time has come, where this service may."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Sequence
from itertools import islice

import redis

from celeriac.service import Service
from celeriac.store.redis.connection import is_refused

logger = logging.getLogger(__name__)

# Domains without a bell for this service, or that rang none: so many are asked for at each call, in
# turn. It is all of them where there are no more.
PART = 64


class Promotion:
    """Of the domains that the service reads, and of those that it emits (setting `emits`).

    Whoever only reads a domain may be forbidden to add to its log, by the ACL of Redis. Such a
    domain is left to the workers of a service that emits it.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._refused: set[str] = set()
        self._next: dict[str, int] = {}
        self._begin = 0

    def __call__(
        self, domains: Iterable[str], rung: Collection[str] = ()
    ) -> Sequence[tuple[int, int | None]]:
        """How many were moved in each domain that was asked for, and the time in ms of its next;
        of each other domain, the time of its next that is known. Blocks for a round trip or two.

        `rung` are domains in which an event may have become the next one.
        """
        emitted = self._service.settings.emitted_domain_names
        allowed = sorted({*domains, *emitted} - self._refused)
        if not allowed:
            return []
        asked = self._asked(allowed, rung)
        answers = self._promote(asked)
        for domain, (_, following) in zip(asked, answers, strict=True):
            if following is None:
                self._next.pop(domain, None)
            else:
                self._next[domain] = following
        others = self._next.keys() - set(asked)
        return [*answers, *((0, self._next[domain]) for domain in others)]

    def _asked(self, allowed: list[str], rung: Collection[str]) -> list[str]:
        if len(allowed) <= PART:
            return allowed
        there = set(allowed)
        self._next = {domain: at for domain, at in self._next.items() if domain in there}
        now = self._service.backend.registry.now_ms() if self._next else 0
        due = {domain for domain, at in self._next.items() if at <= now}
        self._begin %= len(allowed)
        turn = [*allowed[self._begin :], *allowed[: self._begin]]
        self._begin += PART
        return sorted(due | (set(rung) & there) | set(islice(turn, PART)))

    def _promote(self, domains: list[str]) -> Sequence[tuple[int, int | None]]:
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
                "celeriac: postponed events of %s are left to the workers of a service that "
                "emits it, with CELERIAC_EMITTED_DOMAINS=%s: the ACL of Redis forbids it here",
                domain,
                domain,
            )
            return 0, None
