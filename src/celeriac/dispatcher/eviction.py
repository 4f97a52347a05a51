"""Warn if Redis evicts keys when it is full: events and deliveries would vanish without an
error."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from celeriac.event_log.event_log import Eviction

logger = logging.getLogger(__name__)


class EvictionWatch:
    """Warns at the first check, and again when more keys were evicted. Not thread-safe."""

    def __init__(self) -> None:
        self._evicted: dict[str, int] = {}

    def check(self, servers: Iterable[Eviction]) -> None:
        for server in servers:
            before = self._evicted.get(server.server)
            self._evicted[server.server] = server.evicted
            if server.policy == "noeviction" or (before is not None and server.evicted <= before):
                continue
            logger.warning(
                "celeriac: Redis at %s has maxmemory-policy %s: when it is full it deletes events "
                "and deliveries without an error. It has evicted %d keys since its start. Set "
                "maxmemory-policy noeviction",
                server.server,
                server.policy,
                server.evicted,
            )
