"""The load of one handler, as it was read."""

from __future__ import annotations

import msgspec


class HandlerLoad(msgspec.Struct, frozen=True, kw_only=True):
    """The deliveries of one handler that are not finished, all domains together.

    Attributes:
        ahead: Wanted entries of the event log that were not fetched yet.
        is_estimate: `ahead` was counted in a part of these entries, and is larger by their share.
        is_unknown: No wanted entry was found, but not all entries were read.
        queued, running, blocked: Fetched deliveries in these states.
        due: Scheduled deliveries and delayed events that are due within the drain target.
        later: The same after that, within the cooldown.
        mean_us: Mean run time in microseconds; 0 if it is not measured.
        concurrency: Deliveries that all workers together run at once, at most; None for no limit.
        per_second: Deliveries that all workers together start per second, at most.
        is_in_code: Some running worker has its code, or no worker of the service runs.
        is_paused: It starts no delivery within the cooldown.
        is_on_trial: Its circuit breaker tries one delivery next.
    """

    handler: str
    ahead: int = 0
    is_estimate: bool = False
    is_unknown: bool = False
    queued: int = 0
    running: int = 0
    blocked: int = 0
    due: int = 0
    later: int = 0
    mean_us: int = 0
    concurrency: int | None = None
    per_second: float | None = None
    is_in_code: bool = True
    is_paused: bool = False
    is_on_trial: bool = False

    @property
    def unfinished(self) -> int:
        return self.ahead + self.queued + self.running + self.blocked + self.due + self.later

    @property
    def may_start(self) -> bool:
        """Whether a worker would start deliveries of the handler within the cooldown."""
        return self.is_in_code and not self.is_paused

    @property
    def backlog(self) -> int:
        """The deliveries that could be finished within the drain target."""
        if not self.may_start:
            return self.running
        now = self.unfinished - self.later
        return max(self.running, min(1, now)) if self.is_on_trial else now

    @property
    def needs_worker(self) -> bool:
        """Whether something may run within the cooldown."""
        return self.backlog > 0 or (self.may_start and (self.later > 0 or self.is_unknown))

    def work_us(self, drain_us: int) -> int:
        """Return the run time of the backlog, as far as more workers shorten it."""
        events = self.backlog
        if self.per_second is not None:
            events = min(events, max(1, int(self.per_second * drain_us / 1e6)))
        work_us = events * self.mean_us
        return work_us if self.concurrency is None else min(work_us, self.concurrency * drain_us)

    def is_limited(self, drain_us: int) -> bool:
        """Return whether a limit of the handler keeps more workers from helping."""
        return self.work_us(drain_us) < self.backlog * self.mean_us
