"""The delivery store in memory, kept until the process ends."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from celeriac.delivery.dead_letter import DeadLetter
from celeriac.delivery.delivery import (
    MAX_LOST_RUNS,
    Claimed,
    Completion,
    FetchRequest,
    FetchResult,
    Group,
)
from celeriac.delivery.pending_reply import PendingReply, ReceivedReply
from celeriac.delivery.repetition import claim_results
from celeriac.delivery.state import ClaimResult, DeliveryState, Outcome
from celeriac.delivery.store import MAX_SOURCES
from celeriac.event_log import Entry, EntryKind
from celeriac.store.memory.dead_letters import MemoryDeadLetters
from celeriac.store.memory.fetch import fetch
from celeriac.store.memory.handler_store import TTLDict
from celeriac.store.memory.repetitions import check_entries
from celeriac.store.memory.transitions import Transitions
from celeriac.tenant import ALL_TENANTS, all_marks, is_tenant_mark


class MemoryDeliveryStore(MemoryDeadLetters):
    """Implements DeliveryStore: here for dispatchers and executors. The methods for readers are in
    MemoryDeliveryReader, those for operators in MemoryDeadLetters."""

    # -- for dispatchers

    def fetch(self, worker: str, requests: Sequence[FetchRequest]) -> list[FetchResult]:
        with self._lock:
            groups = [(request, self.moves(request.group)) for request in requests]
            return [
                fetch(moves, f"queued:{worker}", request, self.lease_ms)
                if moves
                else FetchResult(removed=True)
                for request, moves in groups
            ]

    def pending_counts(self, domains: Sequence[str]) -> list[Mapping[str, int] | None]:
        with self.event_log.lock:
            stores = [self.event_log.store.get(domain) for domain in domains]
            return [
                {name: len(consumers.pending) for name, consumers in store.groups.items()}
                if store
                else {}
                for store in stores
            ]

    def requeue(self, worker: str, group: Group, limit: int = 1000) -> int:
        with self._lock:
            moves = self.moves(group)
            queued = moves.consumers.owned_by(f"queued:{worker}")[:limit] if moves else []
            for entry in queued:
                assert moves
                moves.requeue(entry)
            if queued and moves:
                moves.notify()
            return len(queued)

    def dead_letter_invalid(self, worker: str, group: Group, entry: str, error: str) -> bool:
        with self._lock:
            moves = self.moves(group)
            pending = moves.consumers.pending.get(entry) if moves else None
            if moves is None or pending is None or pending.owner != f"queued:{worker}":
                return False
            known = self._invalid.setdefault(group.domain, TTLDict(self.window_ms))
            first = known.get(entry, moves.now) is None
            if first:
                known.put(entry, group.handler, moves.now)
                moves.add_dead_letter(
                    DeadLetter(
                        id="", domain=group.domain, handler=group.handler, entry=entry,
                        event_key="", attempts=0, error=error, traceback="",
                        first_failed_ms=moves.now, last_failed_ms=moves.now,
                        event=moves.body(entry) or b"",
                    )
                )  # fmt: skip
                moves.handler_store.stats["dead"] += 1
            moves.acknowledge(entry, DeliveryState.DEAD if first else DeliveryState.IGNORED)
            return first

    def skip(self, worker: str, group: Group, completions: Sequence[Completion]) -> list[str]:
        return self._complete(f"queued:{worker}", group, completions, 0)

    def skip_many(self, worker: str, skipped: Sequence[tuple[Group, Sequence[Completion]]]) -> None:
        for group, completions in skipped:
            self.skip(worker, group, completions)

    def note_patterns(
        self, group: Group, patterns: Sequence[str], gone: Collection[str] = ()
    ) -> tuple[str, ...]:
        with self._lock:
            handler_store, new = self.handler_store(group), tuple(sorted(set(patterns)))
            known = handler_store.patterns
            others = [p for p in known if p not in new and p not in gone and p != ALL_TENANTS]
            marks = all_marks(known) - {*gone} if known else frozenset()
            if any(map(is_tenant_mark, new)):
                others += [ALL_TENANTS] if ALL_TENANTS in marks else []
            elif any(map(is_tenant_mark, others)):
                new = (*new, ALL_TENANTS)
            if {*new, *others} != set(known):
                handler_store.patterns = (*new, *others)
            return handler_store.patterns

    def note_sources(self, domain: str, sources: Mapping[str, int]) -> None:
        with self._lock:
            known = self._sources.setdefault(domain, {})
            for source, at_ms in sources.items():
                known[source] = max(at_ms, known.get(source, 0))
            for source in self._by_age(domain)[MAX_SOURCES:]:
                del known[source]

    def patterns(self, group: Group) -> tuple[str, ...]:
        with self._lock:
            return self.handler_store(group).patterns

    def grant(self, handler: str, want: int, per_second: float) -> tuple[int, int]:
        with self._lock:
            now, step = self.event_log.clock.now_ms(), 1000 / per_second
            depth = max(1000.0, step)
            # At most a full bucket, as in rate.lua: the clock may have stepped back.
            arrival = min(max(self._arrivals.get(handler, 0.0), now), now + depth)
            granted = max(0, min(want, math.floor((now + depth - arrival) / step + 1e-9)))
            self._arrivals[handler] = arrival = arrival + granted * step
            return granted, max(0, math.ceil(arrival + step - now - depth))

    # -- for executors

    def claim(
        self,
        worker: str,
        group: Group,
        pairs: Sequence[tuple[str, str]],
        max_attempts: int,
        *,
        verifies: bool = False,
    ) -> list[Claimed]:
        with self._lock:
            moves = self.moves(group)
            claimed = []
            for entry, event_key in pairs if moves else ():
                assert moves
                pending, body = moves.consumers.pending.get(entry), moves.body(entry)
                if pending is None or body is None or not pending.owner.startswith("queued:"):
                    continue
                attempt, result = pending.count, ClaimResult.RUN
                lost = moves.handler_store.lost_runs.get(entry, 0)
                if attempt > 1 and len(pairs) > 1:
                    continue  # must be claimed alone: it may have ended its process
                before = moves.handler_store.came_before(
                    event_key, entry, moves.consumers.pending, moves.now
                )
                if before is DeliveryState.RUNNING:
                    result = ClaimResult.CONCURRENT
                elif before is not None:
                    result = ClaimResult.DUPLICATE
                elif attempt - lost > max_attempts or lost >= MAX_LOST_RUNS:
                    result = ClaimResult.EXHAUSTED
                moves.run(entry, f"running:{worker}", attempt)
                if result is ClaimResult.RUN:
                    moves.handler_store.record(
                        event_key, DeliveryState.RUNNING, entry, attempt, 0, moves.now
                    )
                    if not verifies:
                        log_entry = moves.store.entry(entry, body)
                        result = self._on_repetition(moves, log_entry, event_key)
                claimed.append(Claimed(entry, result, attempt, body, lost))
            if moves and claimed:
                moves.handler_store.stats[f"chunk {(len(claimed) - 1).bit_length()}"] += 1
                moves.handler_store.stats["claimed"] += len(claimed)
            return claimed

    def note_verified(self, group: Group, verified: Sequence[tuple[str, str]]) -> dict[str, str]:
        with self._lock:
            return self.handler_store(group).note_verified(verified, self.event_log.clock.now_ms())

    def _on_repetition(self, moves: Transitions, entry: Entry, event_key: str) -> ClaimResult:
        is_ambiguous = moves.store.ids.is_ambiguous(entry.time_ms, entry.time_ms)
        if entry.kind is not EntryKind.FOREIGN and not is_ambiguous:
            return ClaimResult.RUN
        pair = [(entry, event_key)]
        repetitions = check_entries(self.event_log, moves.group.domain, pair, note_foreign=True)
        if entry.id in repetitions.certain:
            return ClaimResult.DUPLICATE
        chunks = moves.consumers.chunks.values()
        others = repetitions.possible.values()
        running = {other for other in others if any(chunk.has(other) for chunk in chunks)}
        results = claim_results(repetitions.possible, moves.handler_store.runs, running)
        return results.get(entry.id, ClaimResult.RUN)

    def complete(
        self, worker: str, group: Group, completions: Sequence[Completion], mean_us: int = 0
    ) -> list[str]:
        return self._complete(f"running:{worker}", group, completions, mean_us)

    def begin_complete(
        self, worker: str, group: Group, completions: Sequence[Completion], mean_us: int = 0
    ) -> PendingReply[list[str]]:
        lost = self.complete(worker, group, completions, mean_us)
        return ReceivedReply(lost)

    def _complete(
        self, owner: str, group: Group, completions: Sequence[Completion], mean_us: int
    ) -> list[str]:
        with self._lock:
            moves = self.moves(group)
            if moves is None or not completions:
                return [completion.entry for completion in completions]
            lost, handler_store, running = [], moves.handler_store, owner.startswith("running:")
            for completion in completions:
                entry, event_key = completion.entry, completion.event_key
                if moves.owned(entry, owner, completion.attempt) is None:
                    lost.append(entry)
                    continue
                outcome = completion.outcome
                # A queued delivery, unlike a claimed one, was not compared with earlier entries of
                # the event. A requeued one is compared when it is claimed.
                is_compared = not running and outcome is not Outcome.REQUEUED
                if is_compared and handler_store.came_before(
                    event_key, entry, moves.consumers.pending, moves.now
                ):
                    outcome = Outcome.IGNORED
                moves.complete(completion, outcome)
                if outcome is Outcome.REFUSED:
                    outcome = Outcome.DEAD
                handler_store.stats[outcome.value] += 1
                handler_store.count(completion, outcome, moves.now)
                handler_store.add_emitted(event_key, completion.emitted_events, moves.now)
                if completion.took_us:
                    handler_store.stats["busy_us"] += completion.took_us
            if mean_us and len(lost) < len(completions):
                handler_store.stats["mean_us"] = mean_us
            return lost

    def renew(self, worker: str, group: Group, leases: Sequence[tuple[str, int]]) -> list[str]:
        with self._lock:
            moves, owner, lost = self.moves(group), f"running:{worker}", []
            for entry, attempt in leases:
                if moves and moves.owned(entry, owner, attempt):
                    moves.renew(entry, owner)
                else:
                    lost.append(entry)
            return lost
