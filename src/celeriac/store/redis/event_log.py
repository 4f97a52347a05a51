"""The event log on Redis or Valkey streams."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any

import redis
from redis.exceptions import ResponseError

from celeriac.bus_settings import BusSettings
from celeriac.errors import LogFull
from celeriac.event.attributes import check_domain_name, domain_fault
from celeriac.event_log.backpressure import too_many_domains
from celeriac.event_log.clock_step import ClockStep, latest_step
from celeriac.event_log.delayed import tokens_of, tokens_to_take
from celeriac.event_log.event_log import (
    Entry,
    EntryKind,
    Eviction,
    GroupInfo,
    Item,
    StreamStats,
    Trimmed,
    entry_key,
    next_id,
    read_entry,
)
from celeriac.event_log.open_chunk import OpenChunk, chunks_by_id, in_log_order, parse_chunk
from celeriac.event_log.registered import is_registered, parse_registered
from celeriac.invalid_record import MAX_TIME_MS, InvalidRecords, clamped_time, is_wrong_type
from celeriac.settings import Settings
from celeriac.store.redis.append_once import APPEND_ONCE
from celeriac.store.redis.bus_settings import RedisSettingsStore
from celeriac.store.redis.connection import (
    Client,
    address,
    is_refused,
    is_transient,
    server_time_ms,
    service_client,
)
from celeriac.store.redis.emitted import EmittedCounter
from celeriac.store.redis.keys import FLOW_TYPES, Keys
from celeriac.store.redis.known_groups import Key, KnownGroups
from celeriac.store.redis.packing import Packing, refuse_first
from celeriac.store.redis.script import Script
from celeriac.store.redis.wakeup import StreamWaiter, open_stream_waiter
from celeriac.transfer import portion_end

DELAY_EVENT, ANNOUNCE, _cancel, _enqueue_due, _trim, _remove_consumers, _emitted, _forget = (
    Script(f"{name}.lua")
    for name in (
        "delay_event",
        "announce",
        "cancel",
        "enqueue_due",
        "trim",
        "remove_consumers",
        "emitted",
        "forget",
    )
)
FORGET_CONSUMER_AFTER_MS = 3_600_000
# Calls of trim.lua, 10,000 entries each. More is left to the next run, which is not waited for.
MAX_TRIM_STEPS = 50
MAX_FORGOTTEN = 10_000
WAKEUP = "wakeup"
FOREIGN = EntryKind.FOREIGN


class Streams(dict[str, str]):
    """The key of a name in `seen`: a domain, or `wakeup DOMAIN` for its wakeup stream."""

    def __init__(self, keys: Keys) -> None:
        super().__init__()
        self._keys = keys

    def __missing__(self, name: str) -> str:
        kind, _, domain = name.rpartition(" ")
        key = self._keys.wakeup(domain) if kind == WAKEUP else self._keys.events(domain)
        self[name] = key
        return key


def redis_event_log(settings: Settings) -> RedisEventLog:
    """Return the event log of one server or of a cluster, with the settings of the bus.

    Does not connect yet.
    """
    from celeriac.store.redis.bounded_event_log import bounded_log

    event_log = bounded_log(settings)
    event_log.bus = BusSettings(settings, RedisSettingsStore(settings, event_log.client))
    return event_log


class RedisEventLog:
    """Implements EventLog."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.namespace)
        self.client: Client = service_client(settings)
        self.invalid = InvalidRecords()
        self.bus = BusSettings(settings)
        self._packing = Packing(self.keys)
        self._known_groups = KnownGroups(self.keys)
        self._streams = Streams(self.keys)
        self._waiter: StreamWaiter | None = None
        self._emitted_counter = EmittedCounter(
            lambda counts: add_emitted_counts(self.client, self.keys, counts)
        )
        self.note_emitted = self._emitted_counter.note

    def register_domains(self, domains: Iterable[str], *, bounded: bool = True) -> None:
        names, key = list(domains), self.keys.domains
        if names:
            max_domains = self.bus.current.max_domains if bounded else 0
            refused = self.invalid.unless_wrong_type(
                key, lambda: ANNOUNCE.on_keys(self.client, (key,), max_domains, *names), ()
            )
            if refused:
                raise LogFull(too_many_domains(refused[0].decode(errors="replace"), max_domains))

    def domains(self) -> frozenset[str]:
        key = self.keys.domains
        empty: set[bytes] = set()
        members = self.invalid.unless_wrong_type(key, lambda: self.client.smembers(key), empty)
        stored = dict.fromkeys(members, b"")
        return frozenset(
            self.invalid.decode_all(key, stored, lambda name, _: check_domain_name(name))
        )

    def discover(self) -> frozenset[str]:
        prefix, suffix = self.keys.base("\0").split("\0")
        names = set()
        for key in self.client.scan_iter(match=f"{prefix}*{suffix}events", _type="stream"):
            name = key.decode(errors="replace").removeprefix(prefix).removesuffix(f"{suffix}events")
            if not domain_fault(name):  # other keys are not celeriac's
                names.add(name)
        new = frozenset(names - self.domains())
        self.register_domains(new, bounded=False)
        return new

    def forget_domain(self, domain: str, silent_ms: int) -> bool:
        keys, client = self.keys, self.client
        # First, so that no dispatcher joins the vanished groups again.
        client.zadd(keys.forgotten, {domain: server_time_ms(client)})
        kept_ms = int(self.bus.current.dead_retention * 1000)
        if not self._on_groups(_forget, domain, self._keys_of_group(), silent_ms, kept_ms):
            client.zrem(keys.forgotten, domain)
            return False
        client.srem(keys.domains, domain)
        if client.exists(keys.events(domain)):
            # Appended since, by a producer that had announced the domain before.
            client.sadd(keys.domains, domain)
        client.zremrangebyrank(keys.forgotten, 0, -MAX_FORGOTTEN - 1)
        return True

    def forgotten(self) -> frozenset[str]:
        names = {name.decode() for name in self.client.zrange(self.keys.forgotten, 0, -1)}
        return frozenset(names - self.domains()) if names else frozenset()

    def append(self, domain: str, body: bytes, kind: EntryKind = FOREIGN, since_ms: int = 0) -> str:
        if is_registered(kind, since_ms):
            return self._append_once(domain, body, kind, since_ms)
        (answer,) = self.client.send(self._packing.plain(domain, body, kind), 1).result()
        if isinstance(answer, Exception):
            raise answer
        entry: bytes = answer
        return entry.decode()

    def _append_once(self, domain: str, body: bytes, kind: EntryKind, since_ms: int) -> str:
        call = self._packing.call([(domain, body, kind, since_ms)], self._dedup_window())
        entry: bytes = APPEND_ONCE.on_keys(self.client, *call)
        return entry.decode()

    def append_many(self, items: Sequence[Item]) -> int:
        done = 0
        while done < len(items):
            end = portion_end(items, done)
            try:
                self._append_portion(items[done:end])
            except redis.RedisError as error:
                error.appended = done + getattr(error, "appended", 0)  # type: ignore[attr-defined]
                raise
            done = end
        return done

    def _append_portion(self, items: Sequence[Item]) -> None:
        packed, counts = self._packing.portion(items, self._dedup_window)
        try:
            answers = self.client.send(packed, len(counts)).result()
        except redis.RedisError as error:
            # Commands with a reply were executed, whatever happened afterwards.
            answered = getattr(error, "answers", ())
            refuse_first(answered, counts)
            error.appended = sum(counts[: len(answered)])  # type: ignore[attr-defined]
            raise
        refuse_first(answers, counts)

    def _dedup_window(self) -> float:
        return self.bus.current.dedup_window

    def append_delayed(
        self,
        domain: str,
        body: bytes,
        *,
        delay_ms: int | None,
        at_ms: int | None,
        kind: EntryKind = FOREIGN,
    ) -> int:
        delay = "" if delay_ms is None else delay_ms
        at = "" if at_ms is None else at_ms
        keys, tokens = DELAY_EVENT.keys(self.keys, domain), tokens_to_take(body, kind)
        return int(DELAY_EVENT.on_keys(self.client, keys, body, delay, at, *tokens))

    def cancel_delayed(self, event_key: str, domains: Iterable[str]) -> bool:
        tokens = tokens_of(event_key)
        calls = [(_cancel.keys(self.keys, domain), tokens) for domain in domains]
        removed = 0
        for answer in _cancel.on_keys_many(self.client, calls) if calls else ():
            if isinstance(answer, redis.ResponseError) and is_refused(answer):
                continue
            if isinstance(answer, Exception):
                raise answer
            removed += int(answer)
        return removed > 0

    def enqueue_due(self, domain: str, count: int = 1000) -> tuple[int, int | None]:
        return self.enqueue_due_many([domain], count)[0]

    def enqueue_due_many(
        self, domains: Sequence[str], count: int = 1000
    ) -> list[tuple[int, int | None]]:
        arguments = count, int(self._dedup_window() * 1000)
        calls = [(_enqueue_due.keys(self.keys, domain), arguments) for domain in domains]
        answers = _enqueue_due.on_keys_many(self.client, calls)
        return [self._enqueued(*pair) for pair in zip(domains, answers, strict=True)]

    def _enqueued(self, domain: str, answer: Any) -> tuple[int, int | None]:
        if isinstance(answer, Exception):
            if not is_wrong_type(answer):
                raise answer
            self.invalid.inspect(self.client, self.keys.types(domain))
            return 0, None
        moved, following = answer
        return int(moved), int(following) or None

    def read(
        self,
        domain: str,
        *,
        start: str = "-",
        end: str = "+",
        count: int = 1000,
        newest_first: bool = False,
    ) -> list[Entry]:
        key = self.keys.events(domain)

        def read() -> Any:
            if newest_first:
                return self.client.xrevrange(key, max=end, min=start, count=count)
            return self.client.xrange(key, min=start, max=end, count=count)

        entries = self.invalid.unless_wrong_type(key, read, ())
        return [read_entry(entry, fields) for entry, fields in entries]

    def read_after(self, requests: Sequence[tuple[str, str, int]]) -> list[list[Entry] | None]:
        keys = [self.keys.events(domain) for domain, _, _ in requests]
        answers = self.client.execute_many(
            [
                ("XRANGE", key, f"({entry}", "+", "COUNT", count)
                for key, (_, entry, count) in zip(keys, requests, strict=True)
            ]
        )
        pages: list[list[Entry] | None] = []
        for key, answer in zip(keys, answers, strict=True):
            if isinstance(answer, Exception) and is_transient(answer):
                pages.append(None)
                continue
            entries = self.invalid.answer(key, answer, ())
            pages.append([read_entry(entry, fields) for entry, fields in entries])
        return pages

    def registered(self, domain: str, event_keys: Sequence[str]) -> list[str | None]:
        if not event_keys:
            return []
        keys, none = self.keys.ids(domain), [None] * len(event_keys)
        pipeline = self.client.pipeline(transaction=False)
        for key in keys:
            pipeline.hmget(key, event_keys)
        answers = zip(keys, pipeline.execute(raise_on_error=False), strict=True)
        current, older = (self.invalid.answer(key, answer, none) for key, answer in answers)
        values = [new or old for new, old in zip(current, older, strict=True)]
        parsed = [None if value is None else parse_registered(value) for value in values]
        return [None if registered is None else registered.entry for registered in parsed]

    def length(self, domain: str) -> int:
        key = self.keys.events(domain)
        return int(self.invalid.unless_wrong_type(key, lambda: self.client.xlen(key), 0))

    def stream_stats(self, domains: Sequence[str]) -> list[StreamStats]:
        pipeline = self.client.pipeline(transaction=False)
        for domain in domains:
            pipeline.xinfo_stream(self.keys.events(domain))
            pipeline.zcard(self.keys.delayed(domain))
            pipeline.hgetall(self.keys.emitted(domain))
        answers = iter(pipeline.execute(raise_on_error=False) if domains else ())
        return [
            self._volume(domain, next(answers), next(answers), next(answers)) for domain in domains
        ]

    def _volume(self, domain: str, stream: Any, postponed: Any, emitted: Any) -> StreamStats:
        keys, answer = self.keys, self.invalid.answer
        if isinstance(stream, ResponseError) and not is_wrong_type(stream):
            stream = {}  # no such stream
        stream = answer(keys.events(domain), stream, {})
        key = keys.emitted(domain)
        counts = self.invalid.decode_all(key, answer(key, emitted, {}), lambda _, n: int(n))
        return StreamStats(
            domain,
            length=int(stream.get("length", 0)),
            appended=int(stream.get("entries-added", 0)),
            postponed=int(answer(keys.delayed(domain), postponed, 0)),
            emitted=counts,
            newest=stream.get("last-generated-id", b"0-0").decode(),
        )

    def postponed(self, domain: str) -> int:
        key = self.keys.delayed(domain)
        return int(self.invalid.unless_wrong_type(key, lambda: self.client.zcard(key), 0))

    def upcoming(
        self, domain: str, *, start: int = 0, count: int = 1000
    ) -> list[tuple[int, bytes]]:
        key = self.keys.delayed(domain)
        upcoming = self.invalid.unless_wrong_type(
            key, lambda: self.client.zrange(key, start, start + count - 1, withscores=True), []
        )
        invalid = [(token, ms) for token, ms in upcoming if not 0 <= ms <= MAX_TIME_MS]
        if invalid or start == 0:
            self.invalid.report(key, [(token, f"its time is {ms:g} ms") for token, ms in invalid])
        if not upcoming:
            return []
        events, none = self.keys.delayed_events(domain), [None] * len(upcoming)
        bodies = self.invalid.unless_wrong_type(
            events, lambda: self.client.hmget(events, [token for token, _ in upcoming]), none
        )
        return [
            (clamped_time(ms), token if body is None else body)
            for (token, ms), body in zip(upcoming, bodies, strict=True)
        ]

    def trim(self, domain: str, *, exact: bool = False) -> tuple[int, int]:
        [trimmed] = self.trim_many([domain], exact=exact)
        return trimmed.entries, trimmed.dead_letters

    def trim_many(self, domains: Sequence[str], *, exact: bool = False) -> list[Trimmed]:
        results = {domain: Trimmed() for domain in domains}
        settings = self.bus.current
        how = (
            int(settings.retention * 1000),
            settings.retention_count,
            int(settings.dead_retention * 1000),
            "=" if exact else "~",
            settings.max_dead_letters,
        )
        again, kinds = list(results), (self.keys.chunks, self.keys.runs)
        for _ in range(MAX_TRIM_STEPS):
            call = self._known_groups.call
            calls = [call(_trim, domain, kinds, *how) for domain in again]
            answers = _trim.on_keys_many(self.client, calls)
            more = []
            for domain, answer in zip(again, answers, strict=True):
                if isinstance(answer, Exception):
                    if not is_wrong_type(answer):
                        raise answer
                    self.invalid.inspect(self.client, self.keys.types(domain))
                    results[domain] = Trimmed(remaining=1)
                    continue
                if self._known_groups.learn(domain, answer):
                    more.append(domain)
                    continue
                entries, dead_letters, is_more, remaining = map(int, answer)
                before = results[domain]
                results[domain] = Trimmed(
                    before.entries + entries,
                    before.dead_letters + dead_letters,
                    remaining,
                    bool(is_more),
                )
                if is_more:
                    more.append(domain)
            again = more
            if not again:
                break
        return [results[domain] for domain in domains]

    def join(self, domain: str, handler: str, start: str) -> bool:
        self.register_domains([domain], bounded=False)
        key = self.keys.events(domain)
        try:
            self.client.xgroup_create(key, handler, id=start, mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" in str(error):
                return False
            return bool(self.invalid.answer(key, error, empty=False))
        return True

    def leave(self, domain: str, handler: str) -> bool:
        try:
            return bool(self.client.xgroup_destroy(self.keys.events(domain), handler))
        except ResponseError:  # no such stream
            return False

    def remove_idle_consumers(self, domain: str) -> int:
        return int(self._of_domain(_remove_consumers, domain, 0, FORGET_CONSUMER_AFTER_MS))

    def _of_domain(self, script: Script, domain: str, empty: Any, *args: Any) -> Any:
        """Return the script's reply; `empty` if a key has another type, which is reported."""
        try:
            return script.on_keys(self.client, script.keys(self.keys, domain), *args)
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            self.invalid.inspect(self.client, self.keys.types(domain))
            return empty

    def _on_groups(self, script: Script, domain: str, kinds: tuple[Key, ...], *args: Any) -> Any:
        """Return the reply of a script that needs keys of all groups."""
        while True:
            keys, arguments = self._known_groups.call(script, domain, kinds, *args)
            answer = script.on_keys(self.client, keys, *arguments)
            if not self._known_groups.learn(domain, answer):
                return answer

    def _keys_of_group(self) -> tuple[Key, ...]:
        keys = self.keys
        return (
            keys.scheduled, keys.stats, keys.counters, keys.patterns, keys.lost_runs,
            keys.chunks, keys.runs, *(partial(keys.flow_key, name) for name in FLOW_TYPES),
        )  # fmt: skip

    def groups(self, domain: str) -> list[GroupInfo]:
        key = self.keys.events(domain)
        try:
            groups = self.client.xinfo_groups(key)
        except ResponseError as error:
            if is_wrong_type(error):
                self.invalid.answer(key, error, [])
            return []  # no such stream
        pipeline = self.client.pipeline(transaction=False)
        for group in groups:
            pipeline.hgetall(self.keys.chunks(domain, group["name"].decode()))
            pipeline.xpending(key, group["name"])
        answers = iter(pipeline.execute(raise_on_error=False) if groups else ())
        return [self._group(domain, info, next(answers), next(answers)) for info in groups]

    def _group(self, domain: str, info: Mapping[str, Any], stored: Any, pending: Any) -> GroupInfo:
        key = self.keys.chunks(domain, info["name"].decode())
        fields = chunks_by_id(self.invalid.answer(key, stored, {}))
        chunks = self.invalid.decode_all(key, fields, parse_chunk)
        return _group(info, in_log_order(chunks.values()), pending)

    def wait(self, seen: Mapping[str, str], seconds: float) -> Mapping[str, str]:
        if not seen:
            return seen
        streams = self._streams
        names = {streams[name]: name for name in seen}
        if self._waiter is None:
            self._waiter = open_stream_waiter(self.settings.redis_url)
        woken = self._waiter.wait(dict(zip(names, seen.values(), strict=True)), seconds)
        # The newest entry: the caller fetches everything up to it next, and entries that other
        # workers fetched in the meantime must not wake this one again, one by one.
        single = {names[key]: entry for key, entry in woken.items() if entry is not None}
        more = [names[key] for key, entry in woken.items() if entry is None]
        return {**seen, **single, **self._newest(more)}

    def reconnect(self) -> None:
        self._waiter = None

    def clock_step(self, domain: str) -> ClockStep | None:
        key = self.keys.clock(domain)
        return latest_step(
            self.invalid.unless_wrong_type(key, lambda: self.client.hgetall(key), {})
        )

    def evictions(self) -> list[Eviction]:
        try:
            return [_eviction(where, client) for where, client in self._servers()]
        except ResponseError:  # INFO is not allowed
            return []

    def _servers(self) -> Iterable[tuple[str, Client]]:
        return [(address(self.settings.redis_url), self.client)]

    def _newest(self, names: Sequence[str]) -> dict[str, str]:
        commands = [("XREVRANGE", self._streams[name], "+", "-", "COUNT", 1) for name in names]
        answers = self.client.execute_many(commands) if commands else []
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        newest = zip(names, answers, strict=True)
        return {name: entries[0][0].decode() for name, entries in newest if entries}


def add_emitted_counts(client: Client, keys: Keys, counts: Mapping[str, int]) -> None:
    """Add counts of emitted events of each type, in one round trip."""
    by_domain: dict[str, list[Any]] = {}
    for type, count in counts.items():
        by_domain.setdefault(type.partition(".")[0], []).extend((type, count))
    calls = [(_emitted.keys(keys, domain), fields) for domain, fields in by_domain.items()]
    _emitted.on_keys_many(client, calls)


def _group(info: Mapping[str, Any], chunks: Sequence[OpenChunk], pending: Any) -> GroupInfo:
    holders: Counter[str] = Counter()
    oldest = []
    pending_count = int(info["pending"])
    if isinstance(pending, dict):
        # Read after the chunks: entries of a chunk may have become pending since the position was.
        pending_count = int(pending["pending"])
        oldest = [pending["min"].decode()] if pending["min"] else []
        for consumer in pending["consumers"] or ():
            holders[consumer["name"].decode()] += int(consumer["pending"])
    in_chunks = 0
    for chunk in chunks:
        in_chunks += chunk.count
        holders[chunk.owner] += chunk.count
        oldest.append(next_id(chunk.after))
    lag, read = info.get("lag"), info.get("entries-read")
    return GroupInfo(
        handler=info["name"].decode(),
        last_delivered=info["last-delivered-id"].decode(),
        pending=pending_count + in_chunks,
        lag=None if lag is None else max(0, int(lag)),
        read=None if read is None else int(read),
        holders=holders,
        oldest_pending=min(oldest, key=entry_key, default=None),
        chunks=tuple(chunks),
    )


def _eviction(where: str, client: Client) -> Eviction:
    memory, stats = client.info("memory"), client.info("stats")
    policy = str(memory.get("maxmemory_policy", "noeviction"))
    return Eviction(where, policy, int(stats.get("evicted_keys", 0)))
