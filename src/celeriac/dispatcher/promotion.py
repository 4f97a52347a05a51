"""Moving postponed events into the log when their time has come, where this service may."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence

import redis

from celeriac.connection import is_refused
from celeriac.subscription import Service

log = logging.getLogger(__name__)


class Promotion:
    """Of the domains that the service reads, and of those that it emits (setting `emits`).

    Whoever only reads a domain may be forbidden to add to its log, by the ACL of Redis. Such a
    domain is left to the workers of a service that emits it.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        self._refused: set[str] = set()

    def __call__(self, domains: Iterable[str]) -> Sequence[tuple[int, int | None]]:
        """How many were moved in each domain, and the time in ms of its next. Blocks for a round
        trip."""
        emitted = self._service.settings.emitted_domains
        allowed = sorted({*domains, *emitted} - self._refused)
        if not allowed:
            return []
        try:
            return self._service.backend.log.promote_many(allowed)
        except redis.ResponseError as error:
            if not is_refused(error):
                raise
        return [self._alone(domain) for domain in allowed]

    def _alone(self, domain: str) -> tuple[int, int | None]:
        try:
            return self._service.backend.log.promote(domain)
        except redis.ResponseError as error:
            if not is_refused(error):
                raise
            self._refused.add(domain)
            log.info(
                "celeriac: postponed events of %s are left to the workers of a service that "
                "emits it, with CELERIAC_EMITS=%s: the ACL of Redis forbids it here",
                domain,
                domain,
            )
            return 0, None
