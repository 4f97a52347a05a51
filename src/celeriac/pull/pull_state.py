"""The state of one pull handler in this process, between two requests."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field

from celeriac.delivery import Group
from celeriac.delivery.fetch_size import FetchSize
from celeriac.dispatcher.circuits import CircuitCache
from celeriac.event import literal_domain
from celeriac.handler import Handler
from celeriac.pull.service_context import ServiceContext
from celeriac.registry import HandlerRecord

MAX_READ = 256  # entries of one domain that are fetched at once


@dataclass(slots=True)
class PullState:
    """The handler as it was last registered, and its measurements. `lock` is held while fetching.

    `next_group` rotates the domains, so that a busy one does not keep others from being read.
    `was_interrupted`: a fetch failed after it may have queued deliveries.
    """

    record: HandlerRecord
    handler: Handler
    context: ServiceContext
    lock: threading.Lock = field(default_factory=threading.Lock)
    circuits: CircuitCache = field(default_factory=CircuitCache)
    reclaimed_at: float = -math.inf
    domains_at: float = -math.inf
    was_interrupted: bool = False
    next_group: int = 0
    sizes: dict[str, FetchSize] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # The cache recognizes the list by its identity.
        self.handlers = [self.handler]

    handlers: list[Handler] = field(init=False)

    @property
    def id(self) -> str:
        return self.handler.id

    @property
    def lease(self) -> float:
        """The lease in seconds."""
        assert self.handler.pull is not None
        return self.handler.pull.lease

    @property
    def lease_ms(self) -> int:
        return int(self.lease * 1000)

    def use(self, record: HandlerRecord, handler: Handler) -> None:
        """Use a registration that is newer."""
        self.record, self.handler = record, handler
        self.handlers = [handler]

    def size(self, group: Group) -> FetchSize:
        return self.sizes.setdefault(group.domain, FetchSize(MAX_READ))

    def rotated_groups(self) -> list[Group]:
        """Return the consumer groups; each call begins with the next one."""
        domains = sorted(self.record.since)
        if not domains:
            return []
        at = self.next_group % len(domains)
        self.next_group = at + 1
        return [self.handler.group(domain) for domain in [*domains[at:], *domains[:at]]]

    def retired(self, domain: str) -> dict[str, int]:
        """Return the patterns that were removed, and when (ms): earlier events are skipped."""
        return {
            pattern: at_ms
            for pattern, at_ms in self.record.retired.items()
            if literal_domain(pattern) in (None, domain)
        }
