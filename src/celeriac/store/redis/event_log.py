"""The event log on Redis or Valkey streams."""

from __future__ import annotations

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
    read_entry,
)
from celeriac.event_log.registered import is_registered, parse_registered
from celeriac.invalid_record import MAX_TIME_MS, InvalidRecords, clamped_time, is_wrong_type
from celeriac.settings import Settings
from celeriac.store.redis.append_in_order import append_in_order
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
from celeriac.store.redis.packing import Packing, note_answered, refuse_first
from celeriac.store.redis.script import Script
from celeriac.store.redis.stream_info import read_eviction, read_groups, read_stream_stats
from celeriac.store.redis.trimming import trim_domains
from celeriac.store.redis.wakeup import EntryWaiter
from celeriac.transfer import portion_end

DELAY_EVENT, ANNOUNCE, _cancel, _enqueue_due, _remove_consumers, _emitted, _forget = (
    Script(f"{name}.lua")
    for name in (
        "delay_event",
        "announce",
        "cancel",
        "enqueue_due",
        "remove_consumers",
        "emitted",
        "forget",
    )
)
FORGET_CONSUMER_AFTER_MS = 3_600_000
MAX_FORGOTTEN = 10_000
FOREIGN = EntryKind.FOREIGN


def redis_event_log(settings: Settings, *, in_order: bool = False) -> RedisEventLog:
    """Return the event log of one server or of a cluster, with the settings of the bus.

    Does not connect yet. `in_order`: `append_many` keeps the order if Redis refuses some commands.
    """
    from celeriac.store.redis.bounded_event_log import bounded_log

    event_log = bounded_log(settings)
    event_log.in_order = in_order
    event_log.bus = BusSettings(settings, RedisSettingsStore(settings, event_log.client))
    return event_log


class RedisEventLog:
    """Implements EventLog."""

    in_order = False  # see append_in_order.py

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.namespace)
        self.client: Client = service_client(settings)
        self.invalid = InvalidRecords()
        self.bus = BusSettings(settings)
        self._packing = Packing(self.keys)
        self._known_groups = KnownGroups(self.keys)
        self._waiter = EntryWaiter(self.keys, settings.redis_url)
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
        if not self._known_groups.run(
            client, _forget, domain, self._keys_of_group(), silent_ms, kept_ms
        ):
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
                if self.in_order:
                    window = self._dedup_window()
                    append_in_order(self.client, self._packing, items[done:end], window)
                else:
                    self._append_portion(items[done:end])
            except BaseException as error:
                error.appended = done + getattr(error, "appended", 0)  # type: ignore[attr-defined]
                raise
            done = end
        return done

    def _append_portion(self, items: Sequence[Item]) -> None:
        packed, counts = self._packing.portion(items, self._dedup_window)
        try:
            answers = self.client.send(packed, len(counts)).result()
        except redis.RedisError as error:
            note_answered(error, counts)
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
        return read_stream_stats(self.client, self.keys, self.invalid, domains)

    def delayed(self, domain: str) -> int:
        key = self.keys.delayed(domain)
        return int(self.invalid.unless_wrong_type(key, lambda: self.client.zcard(key), 0))

    def upcoming(
        self, domain: str, *, start: int = 0, count: int = 1000
    ) -> list[tuple[int, bytes]]:
        key = self.keys.delayed(domain)
        upcoming = self.invalid.unless_wrong_type(
            key, lambda: self.client.zrange(key, start, start + count - 1, withscores=True), None
        )
        if upcoming is None:
            return []
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
        client, keys, known = self.client, self.keys, self._known_groups
        return trim_domains(client, keys, known, self.invalid, self.bus.current, domains, exact)

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
        keys = _remove_consumers.keys(self.keys, domain)
        try:
            return int(_remove_consumers.on_keys(self.client, keys, FORGET_CONSUMER_AFTER_MS))
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            self.invalid.inspect(self.client, self.keys.types(domain))
            return 0

    def _keys_of_group(self) -> tuple[Key, ...]:
        keys = self.keys
        return (
            keys.scheduled, keys.stats, keys.counters, keys.patterns, keys.lost_runs,
            keys.chunks, keys.runs, *(partial(keys.flow_key, name) for name in FLOW_TYPES),
        )  # fmt: skip

    def groups(self, domain: str) -> list[GroupInfo]:
        return read_groups(self.client, self.keys, self.invalid, domain)

    def wait(self, seen: Mapping[str, str], seconds: float) -> Mapping[str, str]:
        return self._waiter.wait(self.client, seen, seconds)

    def reconnect(self) -> None:
        self._waiter.reconnect()

    def clock_step(self, domain: str) -> ClockStep | None:
        key = self.keys.clock(domain)
        return latest_step(
            self.invalid.unless_wrong_type(key, lambda: self.client.hgetall(key), {})
        )

    def evictions(self) -> list[Eviction]:
        try:
            return [read_eviction(where, client) for where, client in self._servers()]
        except ResponseError:  # INFO is not allowed
            return []

    def _servers(self) -> Iterable[tuple[str, Client]]:
        return [(address(self.settings.redis_url), self.client)]


def add_emitted_counts(client: Client, keys: Keys, counts: Mapping[str, int]) -> None:
    """Add counts of emitted events of each type, in one round trip."""
    by_domain: dict[str, list[Any]] = {}
    for type, count in counts.items():
        by_domain.setdefault(type.partition(".")[0], []).extend((type, count))
    calls = [(_emitted.keys(keys, domain), fields) for domain, fields in by_domain.items()]
    _emitted.on_keys_many(client, calls)
