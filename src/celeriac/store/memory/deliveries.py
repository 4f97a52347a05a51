"""The delivery store in memory, kept until the process ends."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from itertools import islice

from celeriac.delivery.counters import Counters, sum_counters
from celeriac.delivery.dead_group import Audited, DeadGroup, exception_of
from celeriac.delivery.rate import rate_wait
from celeriac.delivery.record import Failure, History, Row
from celeriac.delivery.repetition import claim_results
from celeriac.delivery.state import ClaimResult, DeliveryState, Outcome
from celeriac.delivery.store import (
    MAX_LOST_RUNS,
    MAX_SOURCES,
    Claimed,
    Completion,
    DeadLetter,
    EditedDeadLetter,
    FetchRequest,
    FetchResult,
    Group,
    Pending,
)
from celeriac.errors import NotFound
from celeriac.event import EmittedEvent, EmittedEvents
from celeriac.event_log import Entry, EntryKind
from celeriac.settings import Settings
from celeriac.store.memory.event_log import MemoryEventLog
from celeriac.store.memory.fetch import fetch
from celeriac.store.memory.handler_store import HandlerStore, TTLDict
from celeriac.store.memory.repetitions import check_entries
from celeriac.store.memory.transitions import Transitions


class MemoryDeliveryStore:
    """Implements DeliveryStore. Thread-safe; shares the store and the lock of the event log."""

    def __init__(self, settings: Settings, event_log: MemoryEventLog) -> None:
        self.lease_ms = int(settings.lease * 1000)
        self.event_log = event_log
        self._lock = event_log.lock
        self._handler_stores: dict[tuple[str, str], HandlerStore] = {}
        self._invalid: dict[str, TTLDict[str]] = {}
        self._arrivals: dict[str, float] = {}
        self._sources: dict[str, dict[str, int]] = {}

    def window_ms(self) -> int:
        return int(self.event_log.bus.current.dedup_window * 1000)

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
            others = [p for p in handler_store.patterns if p not in new and p not in gone]
            if {*new, *others} != set(handler_store.patterns):
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
    ) -> Callable[[], list[str]]:
        lost = self.complete(worker, group, completions, mean_us)
        return lambda: lost

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

    # -- for readers

    def sources(self, domain: str) -> list[str]:
        with self._lock:
            return self._by_age(domain)

    def _by_age(self, domain: str) -> list[str]:
        known = self._sources.get(domain, {})
        return sorted(known, key=lambda source: (known[source], source), reverse=True)

    def rows(self, group: Group, event_keys: Sequence[str]) -> list[Row | None]:
        with self._lock:
            rows, now = self.handler_store(group).rows, self.event_log.clock.now_ms()
            return [rows.get(event_key, now) for event_key in event_keys]

    def history(self, group: Group, event_key: str) -> History:
        with self._lock:
            return self.handler_store(group).history(event_key, self.event_log.clock.now_ms())

    def histories(self, group: Group, event_keys: Sequence[str]) -> list[History]:
        return [self.history(group, event_key) for event_key in event_keys]

    def failures(self, group: Group, event_key: str) -> list[Failure]:
        return list(self.history(group, event_key).failures)

    def emitted_events(self, group: Group, event_keys: Sequence[str]) -> list[EmittedEvents]:
        with self._lock:
            emitted_events, now = (
                self.handler_store(group).emitted_events,
                self.event_log.clock.now_ms(),
            )
            return [
                emitted_events.get(event_key, now) or EmittedEvents() for event_key in event_keys
            ]

    def counters(self, groups: Sequence[Group]) -> list[Counters]:
        with self._lock:
            return [sum_counters([self.handler_store(group).counters]) for group in groups]

    def counters_by_minute(
        self, groups: Sequence[Group], minutes: int = 60
    ) -> list[dict[int, Counters]]:
        with self._lock:
            this = self.event_log.clock.now_ms() // 60_000
            span = range(this - min(minutes, 60) + 1, this + 1)
            records = [self.handler_store(group).minutes for group in groups]
            return [{m: sum_counters([record.get(m, {})]) for m in span} for record in records]

    def pending(self, group: Group, entry: str) -> Pending | None:
        with self._lock:
            moves = self.moves(group)
            entry_state = moves.consumers.pending.get(entry) if moves else None
            if moves is None or entry_state is None:
                return None
            since, attempts = moves.now - entry_state.since_ms, entry_state.count - 1
            lost = moves.handler_store.lost_runs.get(entry, 0)
            return Pending(entry, entry_state.owner, since, attempts, entry_state.due_ms, lost)

    def pending_between(
        self, group: Group, first: str, last: str, limit: int = 1000, *, owner: str = ""
    ) -> list[Pending]:
        with self._lock:
            moves = self.moves(group)
            entries = moves.consumers.between(first, last) if moves else []
            pending = (self.pending(group, entry) for entry in entries)
            owned = (p for p in pending if p is not None and owner in ("", p.owner))
            return list(islice(owned, limit))

    def earlier_in_sequence(self, group: Group, entry: str) -> list[str]:
        with self._lock:
            return self.handler_store(group).keyed.earlier(entry)

    def blocked_until_ms(self, group: Group) -> int | None:
        with self._lock:
            return self.handler_store(group).keyed.next_ms()

    def rate_wait_ms(self, handler: str, per_second: float) -> int:
        with self._lock:
            arrival = self._arrivals.get(handler, 0.0)
            return rate_wait(arrival, self.event_log.clock.now_ms(), 1000 / per_second)

    def kept_since_ms(self) -> int:
        return max(
            self.event_log.clock.now_ms() - self.window_ms(), self.event_log.bus.kept_since_ms
        )

    def due(self, group: Group) -> int:
        with self._lock:
            moves = self.moves(group)
            return len(moves.consumers.owned_by(DeliveryState.SCHEDULED)) if moves else 0

    def stats(self, group: Group) -> Mapping[str, int]:
        with self._lock:
            return dict(self.handler_store(group).stats)

    def stats_many(self, groups: Sequence[Group]) -> list[Mapping[str, int]]:
        return [self.stats(group) for group in groups]

    # -- for operators

    def dead(
        self, domain: str, *, after: str = "", count: int = 100, newest_first: bool = False
    ) -> list[DeadLetter]:
        bound = f"({after}" if after else ""
        with self._lock:
            dead_letters = self.event_log.store[domain].dead
            if newest_first:
                entries = dead_letters.range("-", bound or "+")[::-1]
            else:
                entries = dead_letters.range(bound or "-", "+")
        return [replace(dead_letter, id=id) for id, dead_letter in entries[:count]]

    def dead_letter(self, domain: str, id: str) -> DeadLetter | None:
        try:
            with self._lock:
                stored = self.event_log.store[domain].dead.get(id)
        except ValueError:  # not an id
            return None
        return replace(stored, id=id) if stored else None

    def dead_count(self, domain: str) -> int:
        with self._lock:
            return len(self.event_log.store[domain].dead)

    def dead_groups(self, domain: str) -> list[DeadGroup]:
        ids_of: dict[tuple[str, str], list[str]] = {}
        with self._lock:
            for id, dead_letter in self.event_log.store[domain].dead.range("-", "+"):
                key = dead_letter.handler, exception_of(dead_letter.error)
                ids_of.setdefault(key, []).append(id)
        return [DeadGroup(domain, *key, len(ids), ids[-1]) for key, ids in sorted(ids_of.items())]

    def redrive(
        self, group: Group, dead_letters: Sequence[tuple[DeadLetter, bytes]], note: bytes = b""
    ) -> int:
        if not dead_letters:
            return 0
        with self._lock:
            moves = self._of_group(group)
            done = sum(
                self._redrive(moves, dead_letter, addressed, note)
                for dead_letter, addressed in dead_letters
            )
            if done:
                moves.notify()
                self._audit(group.domain, note, done)
            return done

    def _redrive(
        self, moves: Transitions, dead_letter: DeadLetter, addressed: bytes, note: bytes
    ) -> bool:
        domain, store = moves.group.domain, moves.store
        if dead_letter.entry in moves.consumers.pending or not store.dead.remove(dead_letter.id):
            return False
        moves.handler_store.verified.drop(dead_letter.event_key)
        moves.handler_store.begin_again(
            dead_letter.event_key, dead_letter.entry, note.decode(), moves.now
        )
        if domain in self._invalid:
            self._invalid[domain].drop(dead_letter.entry)
        body = moves.body(dead_letter.entry)
        if body is None:
            self.event_log.append(domain, addressed, EntryKind.REDRIVEN)
        elif not moves.consumers.waits_for(dead_letter.entry):
            moves.revive(dead_letter.entry, body, "redrive", DeliveryState.DEAD)
        return True

    def edit(self, group: Group, edited: Sequence[EditedDeadLetter], note: bytes = b"") -> int:
        if not edited:
            return 0
        with self._lock:
            moves = self._of_group(group)
            done = sum(self._edit(moves, edit, note) for edit in edited)
            if done:
                self._audit(group.domain, note, done)
            return done

    def _edit(self, moves: Transitions, edit: EditedDeadLetter, note: bytes) -> bool:
        key, entry = edit.dead_letter.event_key, edit.dead_letter.entry
        if not key or not moves.store.dead.remove(edit.dead_letter.id):
            return False
        moves.handler_store.note_edit(key, entry, edit.id, note.decode(), moves.now)
        moves.handler_store.add_emitted(
            key, EmittedEvents((EmittedEvent(edit.type, edit.key),)), moves.now
        )
        self.event_log.append(moves.group.domain, edit.body, EntryKind.MADE)
        return True

    def discard(self, domain: str, ids: Sequence[str], note: bytes = b"") -> int:
        with self._lock:
            done = sum(map(self.event_log.store[domain].dead.remove, ids))
            if done:
                self._audit(domain, note, done)
            return done

    def schedule(self, group: Group, entries: Sequence[tuple[str, str]], note: bytes = b"") -> int:
        with self._lock:
            moves, scheduled = self._of_group(group), 0
            for entry, event_key in entries:
                if moves.schedule(entry, event_key, note):
                    scheduled += 1
            if scheduled:
                moves.notify()
                self._audit(group.domain, note, scheduled)
            return scheduled

    def _audit(self, domain: str, note: bytes, count: int) -> None:
        if note:
            self.event_log.store[domain].actions.append(
                self.event_log.clock.now_ms(), (note, count)
            )

    def record(self, domain: str, note: bytes) -> None:
        with self._lock:
            self._audit(domain, note, 0)

    def audit_log(self, domain: str, *, before: str = "", count: int = 100) -> list[Audited]:
        with self._lock:
            actions = self.event_log.store[domain].actions
            entries = actions.range("-", f"({before}" if before else "+")[::-1]
            return [Audited(id, domain, note, done) for id, (note, done) in entries[:count]]

    def forget(self, group: Group) -> None:
        with self._lock:
            self._handler_stores.pop((group.domain, group.handler), None)

    # --

    def handler_store(self, group: Group) -> HandlerStore:
        key = (group.domain, group.handler)
        return self._handler_stores.setdefault(key, HandlerStore(self.window_ms))

    def moves(self, group: Group) -> Transitions | None:
        """Return the group's transitions; None if the handler has no group."""
        consumers = self.event_log.store[group.domain].groups.get(group.handler)
        return (
            Transitions(self.event_log, group, consumers, self.handler_store(group))
            if consumers
            else None
        )

    def _of_group(self, group: Group) -> Transitions:
        moves = self.moves(group)
        if moves is None:
            raise NotFound(
                f"{group.handler} has no subscription in the domain {group.domain}. Check the "
                "name with `celeriac handlers`"
            )
        return moves
