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
    server_time_ms,
    service_client,
)
from celeriac.store.redis.emitted import EmittedTally
from celeriac.store.redis.keys import FLOW_TYPES, Keys
from celeriac.store.redis.known_groups import Key, KnownGroups
from celeriac.store.redis.packing import Packing, refuse_first
from celeriac.store.redis.script import Script
from celeriac.store.redis.wakeup import Doorbell, open_doorbell
from celeriac.transfer import portion_end

POSTPONE, ANNOUNCE, _cancel, _promote, _trim, _tidy, _emitted, _forget = (
    Script(f"{name}.lua")
    for name in ("postpone", "announce", "cancel", "promote", "trim", "tidy", "emitted", "forget")
)
FORGET_CONSUMER_AFTER_MS = 3_600_000
# Of trim.lua, 10,000 entries each: what is over the retention after so many is left for the next
# call, which is not waited for.
MOST_TRIM_STEPS = 50
MAX_FORGOTTEN = 10_000
WAKEUP = "wakeup"
FOREIGN = EntryKind.FOREIGN


class Streams(dict[str, str]):
    """The key behind a name in `seen`: a domain, or the bell of one."""

    def __init__(self, keys: Keys) -> None:
        super().__init__()
        self._keys = keys

    def __missing__(self, name: str) -> str:
        kind, _, domain = name.rpartition(" ")
        key = self._keys.wakeup(domain) if kind == WAKEUP else self._keys.events(domain)
        self[name] = key
        return key


def redis_event_log(settings: Settings) -> RedisEventLog:
    """For one server, or for a cluster, with the settings of the bus. Does not connect yet."""
    from celeriac.store.redis.bounded_event_log import bounded_log

    event_log = bounded_log(settings)
    event_log.bus = BusSettings(settings, RedisSettingsStore(settings, event_log.client))
    return event_log


class RedisEventLog:
    """See EventLog for the promises."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.keys = Keys(settings.namespace)
        self.client: Client = service_client(settings)
        self.invalid = InvalidRecords()
        self.bus = BusSettings(settings)
        self._packing = Packing(self.keys)
        self._known_groups = KnownGroups(self.keys)
        self._streams = Streams(self.keys)
        self._doorbell: Doorbell | None = None
        self._tally = EmittedTally(lambda counts: tell_emitted(self.client, self.keys, counts))
        self.note_emitted = self._tally.note

    def register_domains(self, domains: Iterable[str], *, bounded: bool = True) -> None:
        names, key = list(domains), self.keys.domains
        if names:
            most = self.bus.current.max_domains if bounded else 0
            refused = self.invalid.unless_wrong_type(
                key, lambda: ANNOUNCE.on_keys(self.client, (key,), most, *names), ()
            )
            if refused:
                raise LogFull(too_many_domains(refused[0].decode(errors="replace"), most))

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
        found = set()
        for key in self.client.scan_iter(match=f"{prefix}*{suffix}events", _type="stream"):
            name = key.decode(errors="replace").removeprefix(prefix).removesuffix(f"{suffix}events")
            if not domain_fault(name):  # other keys are not celeriac's
                found.add(name)
        new = frozenset(found - self.domains())
        self.register_domains(new, bounded=False)
        return new

    def forget_domain(self, domain: str, silent_ms: int) -> bool:
        keys, client = self.keys, self.client
        # First, so that no dispatcher takes the groups that vanish for lost ones.
        client.zadd(keys.forgotten, {domain: server_time_ms(client)})
        kept_ms = int(self.bus.current.dead_retention * 1000)
        if not self._on_groups(_forget, domain, self._keys_of_group(), silent_ms, kept_ms):
            client.zrem(keys.forgotten, domain)
            return False
        client.srem(keys.domains, domain)
        if client.exists(keys.events(domain)):
            # Appended to since, by a producer that had announced the domain before.
            client.sadd(keys.domains, domain)
        client.zremrangebyrank(keys.forgotten, 0, -MAX_FORGOTTEN - 1)
        return True

    def forgotten(self) -> frozenset[str]:
        found = {name.decode() for name in self.client.zrange(self.keys.forgotten, 0, -1)}
        return frozenset(found - self.domains()) if found else frozenset()

    def append(self, domain: str, body: bytes, kind: EntryKind = FOREIGN, since_ms: int = 0) -> str:
        if is_registered(kind, since_ms):
            return self._append_once(domain, body, kind, since_ms)
        (answer,) = self.client.send(self._packing.plain(domain, body, kind), 1)()
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
            answers = self.client.send(packed, len(counts))()
        except redis.RedisError as error:
            # Those that were answered are in the log, whatever came then.
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
        keys, tokens = POSTPONE.keys(self.keys, domain), tokens_to_take(body, kind)
        return int(POSTPONE.on_keys(self.client, keys, body, delay, at, *tokens))

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
        calls = [(_promote.keys(self.keys, domain), arguments) for domain in domains]
        answers = _promote.on_keys_many(self.client, calls)
        return [self._promoted(*pair) for pair in zip(domains, answers, strict=True)]

    def _promoted(self, domain: str, answer: Any) -> tuple[int, int | None]:
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

        found = self.invalid.unless_wrong_type(key, read, ())
        return [read_entry(entry, fields) for entry, fields in found]

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
        found = [None if value is None else parse_registered(value) for value in values]
        return [None if one is None else one.entry for one in found]

    def length(self, domain: str) -> int:
        key = self.keys.events(domain)
        return int(self.invalid.unless_wrong_type(key, lambda: self.client.xlen(key), 0))

    def stream_stats(self, domains: Sequence[str]) -> list[StreamStats]:
        pipeline = self.client.pipeline(transaction=False)
        for domain in domains:
            pipeline.xinfo_stream(self.keys.events(domain))
            pipeline.zcard(self.keys.delayed(domain))
            pipeline.hgetall(self.keys.emitted(domain))
        found = iter(pipeline.execute(raise_on_error=False) if domains else ())
        return [self._volume(domain, next(found), next(found), next(found)) for domain in domains]

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
        found = self.invalid.unless_wrong_type(
            key, lambda: self.client.zrange(key, start, start + count - 1, withscores=True), []
        )
        absurd = [(token, ms) for token, ms in found if not 0 <= ms <= MAX_TIME_MS]
        if absurd or start == 0:
            self.invalid.report(key, [(token, f"its time is {ms:g} ms") for token, ms in absurd])
        if not found:
            return []
        events, none = self.keys.delayed_events(domain), [None] * len(found)
        bodies = self.invalid.unless_wrong_type(
            events, lambda: self.client.hmget(events, [token for token, _ in found]), none
        )
        return [
            (clamped_time(ms), token if body is None else body)
            for (token, ms), body in zip(found, bodies, strict=True)
        ]

    def trim(self, domain: str, *, exact: bool = False) -> tuple[int, int]:
        [trimmed] = self.trim_many([domain], exact=exact)
        return trimmed.entries, trimmed.dead_letters

    def trim_many(self, domains: Sequence[str], *, exact: bool = False) -> list[Trimmed]:
        found = {domain: Trimmed() for domain in domains}
        settings = self.bus.current
        how = (
            int(settings.retention * 1000),
            settings.retention_count,
            int(settings.dead_retention * 1000),
            "=" if exact else "~",
            settings.max_dead_letters,
        )
        again, kinds = list(found), (self.keys.chunks, self.keys.runs)
        for _ in range(MOST_TRIM_STEPS):
            call = self._known_groups.call
            calls = [call(_trim, domain, kinds, *how) for domain in again]
            answers = _trim.on_keys_many(self.client, calls)
            more = []
            for domain, answer in zip(again, answers, strict=True):
                if isinstance(answer, Exception):
                    if not is_wrong_type(answer):
                        raise answer
                    self.invalid.inspect(self.client, self.keys.types(domain))
                    found[domain] = Trimmed(remaining=1)
                    continue
                if self._known_groups.learn(domain, answer):
                    more.append(domain)
                    continue
                entries, letters, is_more, left = map(int, answer)
                before = found[domain]
                found[domain] = Trimmed(
                    before.entries + entries, before.dead_letters + letters, left, bool(is_more)
                )
                if is_more:
                    more.append(domain)
            again = more
            if not again:
                break
        return [found[domain] for domain in domains]

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
        return int(self._of_domain(_tidy, domain, 0, FORGET_CONSUMER_AFTER_MS))

    def _of_domain(self, script: Script, domain: str, empty: Any, *args: Any) -> Any:
        """What the script returns; `empty` where a key holds another type, which is reported."""
        try:
            return script.on_keys(self.client, script.keys(self.keys, domain), *args)
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            self.invalid.inspect(self.client, self.keys.types(domain))
            return empty

    def _on_groups(self, script: Script, domain: str, kinds: tuple[Key, ...], *args: Any) -> Any:
        """What a script returns that is given keys of all groups."""
        while True:
            keys, arguments = self._known_groups.call(script, domain, kinds, *args)
            answer = script.on_keys(self.client, keys, *arguments)
            if not self._known_groups.learn(domain, answer):
                return answer

    def _keys_of_group(self) -> tuple[Key, ...]:
        keys = self.keys
        return (
            keys.scheduled, keys.stats, keys.tally, keys.patterns, keys.lost_runs,
            keys.chunks, keys.runs, *(partial(keys.flow_key, name) for name in FLOW_TYPES),
        )  # fmt: skip

    def groups(self, domain: str) -> list[GroupInfo]:
        key = self.keys.events(domain)
        try:
            found = self.client.xinfo_groups(key)
        except ResponseError as error:
            if is_wrong_type(error):
                self.invalid.answer(key, error, [])
            return []  # no such stream
        pipeline = self.client.pipeline(transaction=False)
        for group in found:
            pipeline.hgetall(self.keys.chunks(domain, group["name"].decode()))
            pipeline.xpending(key, group["name"])
        answers = iter(pipeline.execute(raise_on_error=False) if found else ())
        return [self._group(domain, info, next(answers), next(answers)) for info in found]

    def _group(self, domain: str, info: Mapping[str, Any], stored: Any, pending: Any) -> GroupInfo:
        key = self.keys.chunks(domain, info["name"].decode())
        found = chunks_by_id(self.invalid.answer(key, stored, {}))
        chunks = self.invalid.decode_all(key, found, parse_chunk)
        return _group(info, in_log_order(chunks.values()), pending)

    def wait(self, seen: Mapping[str, str], seconds: float) -> Mapping[str, str]:
        if not seen:
            return seen
        streams = self._streams
        names = {streams[name]: name for name in seen}
        if self._doorbell is None:
            self._doorbell = open_doorbell(self.settings.redis_url)
        woken = self._doorbell.wait(dict(zip(names, seen.values(), strict=True)), seconds)
        # Straight to the newest: whoever waits takes all that is there next, and entries that
        # other workers took meanwhile must not wake this one again, one by one.
        found = {names[key]: entry for key, entry in woken.items() if entry is not None}
        more = [names[key] for key, entry in woken.items() if entry is None]
        return {**seen, **found, **self._newest(more)}

    def reconnect(self) -> None:
        self._doorbell = None

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
        found = zip(names, answers, strict=True)
        return {name: entries[0][0].decode() for name, entries in found if entries}


def tell_emitted(client: Client, keys: Keys, counts: Mapping[str, int]) -> None:
    """Adds to how many events of each type were emitted, in one round trip."""
    by_domain: dict[str, list[Any]] = {}
    for type, count in counts.items():
        by_domain.setdefault(type.partition(".")[0], []).extend((type, count))
    calls = [(_emitted.keys(keys, domain), told) for domain, told in by_domain.items()]
    _emitted.on_keys_many(client, calls)


def _group(info: Mapping[str, Any], chunks: Sequence[OpenChunk], pending: Any) -> GroupInfo:
    holders: Counter[str] = Counter()
    oldest = []
    if isinstance(pending, dict):
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
        pending=int(info["pending"]) + in_chunks,
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
