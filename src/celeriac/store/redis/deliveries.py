"""The delivery store on Redis or Valkey. Each transition is one Lua script."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

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
from celeriac.delivery.state import ClaimResult
from celeriac.delivery.store import MAX_SOURCES
from celeriac.event_log import Entry
from celeriac.event_log.open_chunk import parse_chunks
from celeriac.invalid_record import is_wrong_type
from celeriac.store.redis.connection import is_transient
from celeriac.store.redis.dead_letters import RedisDeadLetters
from celeriac.store.redis.delivery_reader import unless_no_group
from celeriac.store.redis.delivery_script import (
    doubtful_entries,
    format_emitted_events,
    pack_flow,
    pack_lists,
    pack_plain,
    parse_claimed,
    parse_entries,
    parse_fetched,
    parse_patterns,
    patterns_text,
    plain_and_other,
)
from celeriac.store.redis.repetitions import read_repetitions
from celeriac.store.redis.run_records import find_runs
from celeriac.store.redis.script import Script
from celeriac.store.redis.server_clock import is_wrong_clock
from celeriac.store.redis.verified import note_verified

_fetch, _claim, _complete, _renew, _requeue = (
    Script(f"{name}.lua") for name in ("fetch", "claim", "complete", "renew", "requeue")
)
_invalid, _rate, _patterns = (Script(f"{name}.lua") for name in ("invalid", "rate", "patterns"))


class RedisDeliveryStore(RedisDeadLetters):
    """Implements DeliveryStore: here for dispatchers and executors. The methods for readers are in
    RedisDeliveryReader, those for operators in RedisDeadLetters."""

    def fetch(self, worker: str, requests: Sequence[FetchRequest]) -> list[FetchResult]:
        if not requests:
            return []
        calls = [
            (
                self.keys_of(_fetch, request.group),
                (
                    request.group.handler,
                    f"queued:{worker}",
                    request.limit,
                    self.lease_ms if request.lease_ms is None else request.lease_ms,
                    int(request.reclaim),
                    pack_flow(request.group.flow_control),
                    request.group.flow_control.max_blocked if request.group.flow_control else 0,
                    request.max_new,
                    "" if request.max_in_flight is None else request.max_in_flight,
                    int(request.scheduled_first),
                ),
            )
            for request in requests
        ]
        answers = _fetch.on_keys_many(self.client, calls)
        away = [isinstance(a, Exception) and is_transient(a) for a in answers]
        # Deliveries of reachable cluster nodes must not be lost with the reply of another node.
        return [
            FetchResult() if gone and not all(away) else self._fetched(request.group, answer)
            for gone, request, answer in zip(away, requests, answers, strict=True)
        ]

    def _fetched(self, group: Group, answer: Any) -> FetchResult:
        if isinstance(answer, ResponseError) and is_wrong_type(answer):
            # Other groups continue.
            self.inspect(group)
            return FetchResult()
        return parse_fetched(answer)

    def inspect(self, group: Group) -> None:
        """Report the group's keys that have another type."""
        keys, domain, handler = self.keys, group.domain, group.handler
        self.invalid.inspect(self.client, keys.types(domain, handler))

    def pending_counts(self, domains: Sequence[str]) -> list[Mapping[str, int] | None]:
        commands = [("XINFO", "GROUPS", self.keys.events(domain)) for domain in domains]
        answers = self.client.execute_many(commands) if commands else []
        return [_pending_counts(answer) for answer in answers]

    def requeue(self, worker: str, group: Group, limit: int = 1000) -> int:
        answer = self.unless_removed(
            _requeue, group, group.handler, f"queued:{worker}", limit, pack_flow(group.flow_control)
        )
        return int(answer or 0)

    def dead_letter_invalid(self, worker: str, group: Group, entry: str, error: str) -> bool:
        arguments = (
            group.handler,
            self.window_ms,
            f"queued:{worker}",
            pack_flow(group.flow_control),
        )
        answer = self.unless_removed(_invalid, group, *arguments, entry, error)
        return bool(answer)

    def skip(self, worker: str, group: Group, completions: Sequence[Completion]) -> list[str]:
        return self._complete_owned(f"queued:{worker}", group, completions, 0)

    def skip_many(self, worker: str, skipped: Sequence[tuple[Group, Sequence[Completion]]]) -> None:
        owner = f"queued:{worker}"
        calls = [self._call_of(owner, group, completions, 0) for group, completions in skipped]
        answers = _complete.on_keys_many(self.client, calls) if calls else ()
        for (group, completions), answer in zip(skipped, answers, strict=False):
            if is_wrong_clock(answer):
                self.clock.forget()
                self._complete_owned(owner, group, completions, 0)
            elif isinstance(answer, Exception) and "NOGROUP" not in str(answer):
                raise answer

    def note_patterns(
        self, group: Group, patterns: Sequence[str], gone: Collection[str] = ()
    ) -> tuple[str, ...]:
        key = self.keys.patterns(group.domain, group.handler)
        arguments = group.handler, patterns_text(patterns), patterns_text(gone)
        answer = self.invalid.unless_wrong_type(
            key, lambda: _patterns.on_keys(self.client, (key,), *arguments), b""
        )
        return parse_patterns(answer)

    def note_sources(self, domain: str, sources: Mapping[str, int]) -> None:
        if not sources:
            return
        key = self.keys.sources(domain)

        def write() -> None:
            pipeline = self.client.pipeline(transaction=False)
            pipeline.zadd(key, dict(sources), gt=True)
            pipeline.zremrangebyrank(key, 0, -MAX_SOURCES - 1)
            pipeline.execute()

        self.invalid.unless_wrong_type(key, write, None)

    def patterns(self, group: Group) -> tuple[str, ...]:
        key = self.keys.patterns(group.domain, group.handler)
        return parse_patterns(self._read([("get", key)], None)[0] or b"")

    def grant(self, handler: str, want: int, per_second: float) -> tuple[int, int]:
        key = self.keys.rate(handler)
        granted, wait_ms = _rate.on_keys(self.client, (key,), want, per_second)
        return int(granted), int(wait_ms)

    def claim(
        self,
        worker: str,
        group: Group,
        pairs: Sequence[tuple[str, str]],
        max_attempts: int,
        *,
        verifies: bool = False,
    ) -> list[Claimed]:
        if not pairs:
            return []
        stream, entries = self.keys.events(group.domain), [entry for entry, _ in pairs]
        arguments = (
            group.handler,
            self.window_ms,
            f"running:{worker}",
            max_attempts,
            MAX_LOST_RUNS,
            pack_lists([entries, [key for _, key in pairs]]),
        )
        span = ("XRANGE", stream, entries[0], entries[-1], "COUNT", 2 * len(entries))
        intervals = ("GET", self.keys.ambiguous(group.domain))
        answer, span_reply, noted = self.client.execute_many(
            [_claim.of_keys(self.keys_of(_claim, group), *arguments), span, intervals]
        )
        if isinstance(answer, NoScriptError):
            answer = self.unless_removed(_claim, group, *arguments)
        if isinstance(answer, Exception):
            if "NOGROUP" in str(answer):
                return []
            raise answer
        if answer is None:
            return []
        claimed = parse_claimed(answer, entries)
        log_entries = parse_entries(span_reply)
        if missed := [entry for entry, *_ in claimed if entry not in log_entries]:
            # Other entries are between the first and the last of them.
            replies = self.client.execute_many(("XRANGE", stream, id, id) for id in missed)
            for reply in replies:
                log_entries |= parse_entries(reply)
        doubtful = [] if verifies else doubtful_entries(claimed, log_entries, dict(pairs), noted)
        repeated = self._repeated(group, doubtful) if doubtful else {}
        return [
            Claimed(
                entry,
                repeated.get(entry, result),
                attempt,
                (log_entries[entry].body or b"") if entry in log_entries else None,
                lost,
            )
            for entry, result, attempt, lost in claimed
        ]

    def note_verified(self, group: Group, verified: Sequence[tuple[str, str]]) -> dict[str, str]:
        return note_verified(self.client, self.keys, group, self.window_ms, verified)

    def _repeated(
        self, group: Group, entries: Sequence[tuple[Entry, str]]
    ) -> dict[str, ClaimResult]:
        """Return entry → the result of its claim, for those that repeat an event."""
        keys, client = self.keys, self.client
        repetitions = read_repetitions(client, keys, group.domain, entries, self.window_ms)
        results = dict.fromkeys(repetitions.certain, ClaimResult.DUPLICATE)
        if repetitions.possible:
            # Chunks first: an entry that has left all chunks already has a run record.
            key = keys.chunks(group.domain, group.handler)
            others = set(repetitions.possible.values())
            stored = self.invalid.unless_wrong_type(key, lambda: client.hgetall(key), {})
            runs = find_runs(
                client, keys.runs(group.domain, group.handler), self.invalid, [*others]
            )
            chunks = parse_chunks(stored)
            running = {other for other in others if any(chunk.has(other) for chunk in chunks)}
            results |= claim_results(repetitions.possible, runs, running)
        return results

    def complete(
        self, worker: str, group: Group, completions: Sequence[Completion], mean_us: int = 0
    ) -> list[str]:
        return self._complete_owned(f"running:{worker}", group, completions, mean_us)

    def begin_complete(
        self, worker: str, group: Group, completions: Sequence[Completion], mean_us: int = 0
    ) -> PendingReply[list[str]]:
        if not completions:
            return ReceivedReply([])
        keys, arguments = self._call_of(f"running:{worker}", group, completions, mean_us)
        reply = _complete.begin(self.client, keys, *arguments)
        return CompletionReply(self, worker, group, completions, mean_us, reply)

    def _complete_owned(
        self, owner: str, group: Group, completions: Sequence[Completion], mean_us: int
    ) -> list[str]:
        if not completions:
            return []

        def complete() -> Any:
            keys, arguments = self._call_of(owner, group, completions, mean_us)
            return _complete.on_keys(self.client, keys, *arguments)

        lost = unless_no_group(lambda: self.clock.corrected(complete))
        return _no_longer_owned(completions, lost)

    def completion_command(
        self, owner: str, group: Group, completions: Sequence[Completion], chunk: str
    ) -> tuple[Any, ...]:
        """Return `complete` as the command that follows the completion of the chunk in one
        transaction."""
        keys, arguments = self._call_of(owner, group, completions, 0, chunk)
        return _complete.of_keys(keys, *arguments)

    def _call_of(
        self,
        owner: str,
        group: Group,
        completions: Sequence[Completion],
        mean_us: int,
        chunk: str = "",
    ) -> tuple[Sequence[str], list[Any]]:
        """Return the keys and the arguments of complete.lua."""
        plain, others = plain_and_other(completions)
        arguments: list[Any] = [
            group.handler,
            self.window_ms,
            owner,
            pack_flow(group.flow_control),
            mean_us,
        ]
        arguments += (chunk, plain[0].type if plain else "", pack_plain(plain))
        for other in others:
            failure = other.failure
            arguments += (
                other.entry,
                other.event_key,
                other.attempt,
                other.outcome.value,
                other.took_us,
                other.delay_ms,
                failure.encode() if failure else b"",
                failure.error if failure else other.into,
                other.traceback,
                other.type,
                format_emitted_events(other.emitted_events),
            )
        keys = _complete.keys(self.keys, group.domain, group.handler, self.clock.now_ms())
        return keys, arguments

    def renew(self, worker: str, group: Group, leases: Sequence[tuple[str, int]]) -> list[str]:
        pairs = (value for pair in leases for value in pair)
        lost = self.unless_removed(_renew, group, group.handler, f"running:{worker}", *pairs)
        if lost is None:
            return [entry for entry, _ in leases]
        return [entry.decode() for entry in lost]


@dataclass(frozen=True, slots=True)
class CompletionReply:
    """The reply of complete.lua."""

    store: RedisDeliveryStore
    worker: str
    group: Group
    completions: Sequence[Completion]
    mean_us: int
    reply: PendingReply[Any]

    def result(self) -> list[str]:
        try:
            lost = unless_no_group(self.reply.result)
        except ResponseError as error:
            if not is_wrong_clock(error):
                raise
            self.store.clock.forget()
            return self.store.complete(self.worker, self.group, self.completions, self.mean_us)
        return _no_longer_owned(self.completions, lost)


def _no_longer_owned(completions: Sequence[Completion], lost: Any) -> list[str]:
    """Return the entries that complete.lua returned; all of them if the handler has no group."""
    if lost is None:
        return [completion.entry for completion in completions]
    return [entry.decode() for entry in lost]


def _pending_counts(answer: Any) -> Mapping[str, int] | None:
    """Parse the reply of XINFO GROUPS."""
    if isinstance(answer, Exception):
        return {} if "no such key" in str(answer) else None
    groups = map(as_mapping, answer)
    return {group[b"name"].decode(): int(group[b"pending"]) for group in groups}


def as_mapping(answer: Any) -> Mapping[bytes, Any]:
    """Return a mapping, which is a map in RESP3 and a flat list in RESP2."""
    return answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=True))
