"""The delivery store on Redis or Valkey, for readers: rows, histories, counts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from redis.exceptions import ResponseError

from celeriac.bus_settings import BusSettings
from celeriac.delivery.counters import Counters, add_counter
from celeriac.delivery.delivery import Group, Pending
from celeriac.delivery.rate import rate_wait
from celeriac.delivery.record import Failure, History, Row, parse_history, parse_row
from celeriac.event import EmittedEvents
from celeriac.event_log import entry_key, is_entry
from celeriac.invalid_record import InvalidRecords, clamped_time
from celeriac.settings import Settings
from celeriac.store.redis.connection import Client, server_time_ms, service_client
from celeriac.store.redis.delivery_script import parse_emitted_events, parse_int, parse_noted
from celeriac.store.redis.keys import Keys
from celeriac.store.redis.script import Script
from celeriac.store.redis.server_clock import ServerClock


class RedisDeliveryReader:
    """Implements DeliveryReading."""

    def __init__(
        self,
        settings: Settings,
        client: Client | None = None,
        invalid: InvalidRecords | None = None,
        bus: BusSettings | None = None,
    ) -> None:
        self.keys = Keys(settings.namespace)
        self.lease_ms = int(settings.lease * 1000)
        self.client: Client = client or service_client(settings)
        self.invalid = InvalidRecords() if invalid is None else invalid
        self.bus = bus or BusSettings(settings)
        self.clock = ServerClock(self.client)

    @property
    def window_ms(self) -> int:
        return int(self.bus.current.dedup_window * 1000)

    def rows(self, group: Group, event_keys: Sequence[str]) -> list[Row | None]:
        if not event_keys:
            return []
        keys = self.keys.matrix(group.domain, group.handler)
        none: list[bytes | None] = [None] * len(event_keys)
        current, older = self._read([("hmget", key, event_keys) for key in keys], none)
        stored = {
            key.encode(): new or old
            for key, new, old in zip(event_keys, current, older, strict=True)
            if (new or old) and key  # the field without a name is the mark of the generation
        }
        rows = self.invalid.decode_all(keys[0], stored, lambda _, row: parse_row(row))
        return [rows.get(key) for key in event_keys]

    def history(self, group: Group, event_key: str) -> History:
        return self.histories(group, [event_key])[0]

    def histories(self, group: Group, event_keys: Sequence[str]) -> list[History]:
        if not event_keys:
            return []
        keys = self.keys.failures(group.domain, group.handler)
        none: list[bytes | None] = [None] * len(event_keys)
        current, older = self._read([("hmget", key, event_keys) for key in keys], none)
        stored = {
            event_key.encode(): lines
            for event_key, new, old in zip(event_keys, current, older, strict=True)
            if event_key and (lines := new or old)
        }
        histories = self.invalid.decode_all(keys[0], stored, lambda _, lines: parse_history(lines))
        return [histories.get(event_key, History()) for event_key in event_keys]

    def failures(self, group: Group, event_key: str) -> list[Failure]:
        return list(self.history(group, event_key).failures)

    def emitted_events(self, group: Group, event_keys: Sequence[str]) -> list[EmittedEvents]:
        if not event_keys:
            return []
        keys = self.keys.emitted_events(group.domain, group.handler)
        none: list[bytes | None] = [None] * len(event_keys)
        current, older = self._read([("hmget", key, event_keys) for key in keys], none)
        return [
            parse_emitted_events((new or old) if event_key else None)
            for event_key, new, old in zip(event_keys, current, older, strict=True)
        ]

    def counters(self, groups: Sequence[Group]) -> list[Counters]:
        keys = [self.keys.counters(group.domain, group.handler) for group in groups]
        return self._counters_of(keys)

    def counters_by_minute(
        self, groups: Sequence[Group], minutes: int = 60
    ) -> list[dict[int, Counters]]:
        this = int(self.client.time()[0]) // 60
        span = range(this - min(minutes, 60) + 1, this + 1)
        keys = [
            self.keys.counters(group.domain, group.handler, m) for group in groups for m in span
        ]
        counters = iter(self._counters_of(keys))
        return [{minute: next(counters) for minute in span} for _ in groups]

    def _counters_of(self, keys: Sequence[str]) -> list[Counters]:
        answers = self._read([("hgetall", key) for key in keys], {})
        counters_of_keys: list[Counters] = []
        for key, stored in zip(keys, answers, strict=True):
            counters: Counters = {}
            self.invalid.decode_all(key, stored, partial(add_counter, counters))
            counters_of_keys.append(counters)
        return counters_of_keys

    def _read(self, commands: Sequence[tuple[Any, ...]], empty: Any) -> list[Any]:
        """Return the replies to methods of the client on one key each, in one round trip.

        The reply is `empty` if a key holds another type, which is reported.
        """
        pipeline = self.client.pipeline(transaction=False)
        for method, key, *args in commands:
            getattr(pipeline, method)(key, *args)
        answers = pipeline.execute(raise_on_error=False) if commands else []
        return [
            self.invalid.answer(key, answer, empty)
            for (_, key, *_), answer in zip(commands, answers, strict=True)
        ]

    def pending(self, group: Group, entry: str) -> Pending | None:
        return next(iter(self.pending_between(group, entry, entry, 1)), None)

    def pending_between(
        self, group: Group, first: str, last: str, limit: int = 1000, *, owner: str = ""
    ) -> list[Pending]:
        key = self.keys.events(group.domain)
        try:
            pending = self.client.xpending_range(
                key, group.handler, min=first, max=last, count=limit, consumername=owner or None
            )
        except ResponseError:  # no consumer group
            return []
        if not pending:
            return []
        entries = [delivery["message_id"].decode() for delivery in pending]
        due, none = self.keys.scheduled(group.domain, group.handler), [None] * len(entries)
        lost = self.keys.lost_runs(group.domain, group.handler)
        times, runs = self._read([("zmscore", due, entries), ("hmget", lost, entries)], none)
        return [
            Pending(
                entry=entry,
                owner=delivery["consumer"].decode(errors="replace"),
                held_ms=int(delivery["time_since_delivered"]),
                attempts=int(delivery["times_delivered"]) - 1,
                due_ms=None if due_ms is None else clamped_time(due_ms),
                lost_runs=parse_int(lost_runs),
            )
            for entry, delivery, due_ms, lost_runs in zip(
                entries, pending, times, runs, strict=True
            )
        ]

    def earlier_in_sequence(self, group: Group, entry: str) -> list[str]:
        keyed, blocked, *_ = self.keys.of_flow(group.domain, group.handler)
        [fields] = self._read([("hgetall", keyed)], {})
        # Other names are invalid, and nothing waits for them.
        named = ((name.decode(errors="replace"), value) for name, value in fields.items())
        noted = {name: parse_noted(value) for name, value in named if is_entry(name)}
        delivery = noted.get(entry)
        if delivery is None or delivery.mark != b"-":
            return []
        key = delivery.key
        started = [name for name, other in noted.items() if other.key == key and other.mark == b"+"]
        until = key + b"\0" + delivery.position + b"\0" + entry.encode()
        bounds = b"[" + key + b"\0", b"(" + until
        [is_blocked, before] = self._read(
            [("zscore", blocked, until), ("zrangebylex", blocked, *bounds)], None
        )
        if is_blocked is None:
            return []
        blocked_before = (
            member.rpartition(b"\0")[2].decode(errors="replace") for member in before or ()
        )
        return sorted(started, key=entry_key) + list(filter(is_entry, blocked_before))

    def blocked_until_ms(self, group: Group) -> int | None:
        names = ("throttled", "quiet_until")
        keys = [self.keys.flow_key(name, group.domain, group.handler) for name in names]
        heads = self._read([("zrange", key, 0, 0, False, True) for key in keys], [])
        return min((int(at) for head in heads for _, at in head), default=None)

    def rate_wait_ms(self, handler: str, per_second: float) -> int:
        [stored] = self._read([("get", self.keys.rate(handler))], None)
        now, step = server_time_ms(self.client), 1000 / per_second
        try:
            arrival = float(stored or 0)
        except ValueError:
            arrival = 0.0
        return rate_wait(arrival, now, step)

    def sources(self, domain: str) -> list[str]:
        key = self.keys.sources(domain)
        [sources] = self._read([("zrevrange", key, 0, -1)], [])
        return [source.decode(errors="replace") for source in sources]

    def kept_since_ms(self) -> int:
        # Uses the server's clock, as the scripts do: this machine's may be wrong.
        now_ms = server_time_ms(self.client)
        return max(now_ms - self.window_ms, self.bus.kept_since_ms)

    def due(self, group: Group) -> int:
        return int(self._read([("zcard", self.keys.scheduled(group.domain, group.handler))], 0)[0])

    def due_until(self, groups: Sequence[Group], until_ms: int) -> list[int]:
        keys = [self.keys.scheduled(group.domain, group.handler) for group in groups]
        return [int(n) for n in self._read([("zcount", key, "-inf", until_ms) for key in keys], 0)]

    def stats(self, group: Group) -> Mapping[str, int]:
        return self.stats_many([group])[0]

    def stats_many(self, groups: Sequence[Group]) -> list[Mapping[str, int]]:
        keys = [self.keys.stats(group.domain, group.handler) for group in groups]
        answers = self._read([("hgetall", key) for key in keys], {})
        return [
            self.invalid.decode_all(key, stored, lambda _, number: int(number))
            for key, stored in zip(keys, answers, strict=True)
        ]

    def unless_removed(self, script: Script, group: Group, *args: Any) -> Any:
        """Return the script's reply; None if the handler has no group, so has no deliveries."""
        keys = self.keys_of(script, group)
        return unless_no_group(lambda: script.on_keys(self.client, keys, *args))

    def keys_of(self, script: Script, group: Group) -> tuple[str, ...]:
        return script.keys(self.keys, group.domain, group.handler)


def unless_no_group(answer: Callable[[], Any]) -> Any:
    """Return what `answer` returns; None if the handler has no group."""
    try:
        return answer()
    except ResponseError as error:
        if "NOGROUP" in str(error):
            return None
        raise
