"""emit: build the event, check it, append it to its domain's log. One XADD, whoever subscribes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Self, TypeVar

import redis
from msgspec.structs import replace

from celeriac.contract import VERSIONS, written_as
from celeriac.emitter.known_domains import KnownDomains
from celeriac.errors import BusUnavailable, InvalidEvent, LogFull
from celeriac.event import (
    Event,
    build_event,
    encode,
    is_encrypted,
    join_paths,
    made_ms,
    new_event_ids,
    plain_event,
    record_emitted,
    sensitive_attribute,
    validate_for_emit,
)
from celeriac.event.sensitive import DEEP, escaped
from celeriac.event_log import EntryKind, EventLog, Item, time_ms, tried_at
from celeriac.event_log.registered import kind_of_id, kind_postponed
from celeriac.middleware import EmitHooks, Through
from celeriac.security import Encrypter, make_encrypter, make_signer
from celeriac.settings import Settings
from celeriac.store.redis.connection import persist
from celeriac.store.redis.refusal import nothing_written
from celeriac.transfer import PORTION_BYTES, transfer_time

T = TypeVar("T")
Emission = Event[Any] | tuple[str, Any]
PIPELINE = 500
MADE, GIVEN = EntryKind.MADE, EntryKind.GIVEN
NEW = (MADE, 0)


class Emitter:
    """Emits into one log. Thread-safe, fork-safe; connects at the first emit."""

    def __init__(
        self,
        settings: Settings,
        event_log: Callable[[], EventLog],
        hooks: EmitHooks | None = None,
    ) -> None:
        self.settings = settings
        self.hooks = hooks
        self.schemas: dict[str, Any] = {}
        self.recipients: dict[str, tuple[str, ...]] = {}
        self._signer = make_signer(settings)
        # Whoever reads these events need not have the same setting.
        self._named = tuple(f"{DEEP}.{escaped(name)}" for name in sorted(settings.sensitive_names))
        self._encrypter: Encrypter | None = None
        self._log = event_log
        self._announced = KnownDomains()

    def into(self, event_log: Any) -> Self:
        """The same emitter, appending to another log."""
        other = copy(self)
        other._log = lambda: event_log
        other._announced = KnownDomains()
        return other

    def build(self, type: str, data: Any = None, **attributes: Any) -> Event[Any]:
        """A new event, its data checked against the declared type. Raises InvalidEvent."""
        data, marked = self._declared(type, data)
        if marked or "sensitive" in attributes:
            attributes["sensitive"] = join_paths(marked, attributes.get("sensitive", ()))
        versions = VERSIONS.get(type)
        uri = None
        if versions is not None and "dataschema" not in attributes:
            uri = written_as(versions, data, self.schemas.get(type))
        if not attributes:
            return plain_event(type, data, source=self.settings.source, dataschema=uri)
        if uri is not None:
            attributes["dataschema"] = uri
        services = check_recipients(attributes.pop("encrypt_for", None))
        if "source" not in attributes:
            attributes["source"] = self.settings.source
        event = build_event(type, data, **attributes)
        return self._encrypted(event, services) if services else event

    def encode(self, event: Event[Any], *, valid: bool = False) -> bytes:
        """The event as it enters the log: encrypted where its type is declared so, signed where
        there is a key. Raises InvalidEvent."""
        raw = self.encode_unsigned(event, valid=valid)
        return raw if self._signer is None else self._signer.sign(raw)

    def encode_unsigned(self, event: Event[Any], *, valid: bool = False) -> bytes:
        """`encode`, for an event that `signed` signs together with others."""
        if self.recipients and event.type in self.recipients and not is_encrypted(event):
            event = self._encrypted(event, self.recipients[event.type])
        if event.keyid is not None or event.signature is not None:
            # One that came over the bus: its signature is not of what is emitted now.
            event = replace(event, keyid=None, signature=None)
        return encode(event, max_bytes=self.settings.max_event_bytes, valid=valid)

    def signed(self, items: list[Item]) -> list[Item]:
        """The same items, their events signed where there is a key."""
        if self._signer is None:
            return items
        bodies = self._signer.sign_many([item[1] for item in items])
        return [
            (domain, body, kind, since)
            for (domain, _, kind, since), body in zip(items, bodies, strict=True)
        ]

    def _encrypted(self, event: Event[Any], services: Sequence[str]) -> Event[Any]:
        if self._encrypter is None:
            self._encrypter = make_encrypter(self.settings)
        return self._encrypter(event, services)

    def emit(
        self,
        event: Event[Any],
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        made: bool = False,
    ) -> str:
        """Appends the event, now or later; returns its id. See EventBus.emit.

        `made` says that its id was made for this very call.
        """
        if self.hooks is None:
            return self._emit(event, delay, at, made)
        with self.hooks.around(event) as through:
            changed = through(event)
            try:
                self._emit(changed, delay, at, made and changed.id == event.id)
            except Exception as error:
                self.hooks.failed((changed,), error)
                raise
            self.hooks.appended((changed,))
            return changed.id

    def _emit(
        self,
        event: Event[Any],
        delay: float | timedelta | None,
        at: datetime | None,
        made: bool,
    ) -> str:
        body = self.encode(event)
        delay_ms, at_ms = when_ms(delay, at)
        event_log = self._log()
        kind, since = NEW if made else self.kind_of_id(event.id)

        def append() -> None:
            nonlocal since
            self._announce(event_log, [event.domain])
            if delay_ms is None and at_ms is None:
                try:
                    event_log.append(event.domain, body, kind, since)
                except redis.RedisError as error:
                    if not nothing_written(error):
                        since = made_ms(event.id)
                    raise
            else:
                held = self.kind_postponed(kind)
                event_log.append_delayed(
                    event.domain, body, delay_ms=delay_ms, at_ms=at_ms, kind=held
                )

        self._persist(append, len(body))
        record_emitted((event,))
        event_log.note_emitted((event.type,))
        return event.id

    def emit_many(self, events: Iterable[Emission | Mapping[str, Any]]) -> int:
        """Appends events of any number, at most PIPELINE and PORTION_BYTES at a time; returns how
        many. See EventBus."""
        if self.hooks is None:
            return self._emit_many(events, None)
        with self.hooks.around(None) as through:
            return self._emit_many(events, through)

    def _emit_many(
        self, events: Iterable[Emission | Mapping[str, Any]], through: Through | None
    ) -> int:
        emitted = 0
        event_log = self._log()
        given = iter(events)
        while chosen := self._encoded(given, emitted, through):
            chosen_events, items = chosen
            done = 0

            def append(items: list[Item] = items) -> None:
                nonlocal done
                self._announce(event_log, {item[0] for item in items[done:]})
                began = time_ms()
                try:
                    event_log.append_many(items[done:])
                except (redis.RedisError, LogFull) as error:
                    # Those before the failure are confirmed: only the rest is tried again.
                    done += getattr(error, "appended", 0)
                    items[done:] = tried_at(began, items[done:])
                    raise

            try:
                self._persist(append, sum(len(item[1]) for item in items))
            except (BusUnavailable, LogFull) as error:
                error.emitted = emitted + done
                if self.hooks is not None:
                    self.hooks.appended(chosen_events[:done])
                    self.hooks.failed(chosen_events[done:], error)
                raise
            if self.hooks is not None:
                self.hooks.appended(chosen_events)
            record_emitted(chosen_events)
            event_log.note_emitted([event.type for event in chosen_events])
            emitted += len(items)
        return emitted

    def changed(
        self, event: Event[Any], through: Through, kind: tuple[EntryKind, int]
    ) -> tuple[Event[Any], tuple[EntryKind, int]]:
        """Return the event as middleware changed it, and its kind: another id is a given one."""
        changed = through(event)
        return changed, kind if changed.id == event.id else self.kind_of_id(changed.id)

    def kind_of(self, given: Emission | Mapping[str, Any]) -> tuple[EntryKind, int]:
        """Whether emit_many makes the id of what it was given; as `kind_of_id`."""
        if isinstance(given, Event):
            return self.kind_of_id(given.id)
        if isinstance(given, Mapping) and (id := given.get("id")) is not None:
            return self.kind_of_id(id)
        return NEW

    def kind_of_id(self, id: str) -> tuple[EntryKind, int]:
        """What is known about an id that was given, and when `emit` had made it: `kind` and
        `since_ms` of EventLog.append."""
        return kind_of_id(id, signed=self._signer is not None)

    def kind_postponed(self, kind: EntryKind) -> EntryKind:
        """The kind with which an event is held until its time."""
        return kind_postponed(kind, signed=self._signer is not None)

    def _encoded(
        self,
        events: Iterator[Emission | Mapping[str, Any]],
        emitted: int,
        through: Through | None,
    ) -> tuple[list[Event[Any]], list[Item]] | None:
        """The next events, and as they enter the log, as many as one pipeline takes; none of them
        published yet."""
        ids = new_event_ids(PIPELINE)
        chosen: list[Event[Any]] = []
        items: list[Item] = []
        size = 0
        try:
            for given in islice(events, PIPELINE):
                event = self.as_event(given, ids)
                kind, since = NEW if type(given) is tuple else self.kind_of(given)
                is_valid = not isinstance(given, Event)
                if through is not None:
                    event, (kind, since) = self.changed(event, through, (kind, since))
                    is_valid = False
                body = self.encode_unsigned(event, valid=is_valid)
                chosen.append(event)
                items.append((event.domain, body, kind, since))
                size += len(body)
                if size >= PORTION_BYTES:
                    break
        except InvalidEvent as error:
            error.emitted = emitted
            raise
        return (chosen, self.signed(items)) if chosen else None

    def as_event(self, given: Emission | Mapping[str, Any], ids: Iterator[str]) -> Event[Any]:
        """An event from an Event, a (type, data) pair or a mapping of emit's arguments."""
        if type(given) is tuple and len(given) == 2:
            return self._pair(*given, next(ids))
        if isinstance(given, Event):
            return given
        if isinstance(given, Mapping):
            if later := given.keys() & {"delay", "at"}:
                raise InvalidEvent(
                    f"emit_many publishes now; for {' and '.join(sorted(later))} call emit"
                )
            return self._build(given)
        if isinstance(given, tuple) and len(given) == 2:
            return self.build(*given)
        shape = f" of {len(given)}" if isinstance(given, tuple) else ""
        raise InvalidEvent(
            f"cannot emit {type(given).__name__}{shape}: give (type, data), an Event, or a mapping "
            "with 'type' and 'data'"
        )

    def _pair(self, type: str, data: Any, id: str) -> Event[Any]:
        data, marked = self._declared(type, data)
        source, versions = self.settings.source, VERSIONS.get(type)
        schema = self.schemas.get(type)
        uri = None if versions is None else written_as(versions, data, schema)
        if marked:
            return build_event(type, data, source=source, id=id, sensitive=marked, dataschema=uri)
        return plain_event(type, data, source=source, id=id, dataschema=uri)

    def _declared(self, type: str, data: Any) -> tuple[Any, str | None]:
        """The data as its declared type has it, and what that and the setting mark as sensitive."""
        schema = self.schemas.get(type, Any)
        data = validate_for_emit(type, data, schema)
        marked = sensitive_attribute(schema, data.__class__)
        return data, join_paths(marked, self._named) if self._named else marked

    def _build(self, given: Mapping[str, Any]) -> Event[Any]:
        try:
            return self.build(**given)
        except TypeError as error:
            known = "type, data, and the attributes that emit takes"
            raise InvalidEvent(f"cannot emit {sorted(given)}: a mapping has {known}") from error

    def _announce(self, event_log: EventLog, domains: Iterable[str]) -> None:
        new = self._announced.missing(event_log, domains)
        if new:
            event_log.register_domains(new)
            self._announced.add(new)

    def _persist(self, call: Callable[[], T], size: int) -> T:
        seconds = self.settings.emit_timeout + transfer_time(size)
        return persist(call, url=self.settings.redis_url, seconds=seconds)


def check_recipients(given: Any) -> tuple[str, ...]:
    """The names in `encrypt_for`. Raises InvalidEvent for what is no list of them.

    An empty list is refused too: it says that the data is secret, and nothing would be encrypted.
    """
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidEvent(f"encrypt_for={given!r}: a list of services, like ['billing']")
    names = tuple(given)
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidEvent(f"encrypt_for={given!r}: names at least one service, each as a text")
    return names


def when_ms(delay: float | timedelta | None, at: datetime | None) -> tuple[int | None, int | None]:
    """(delay in ms, absolute time in ms), at most one of them given. Raises InvalidEvent."""
    if delay is not None and at is not None:
        raise InvalidEvent("give `delay` or `at`, not both")
    if at is not None:
        if not isinstance(at, datetime) or at.tzinfo is None:
            raise InvalidEvent(f"at={at!r}: a datetime with timezone, e.g. datetime.now(UTC)")
        return None, int(at.timestamp() * 1000)
    if delay is None:
        return None, None
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else delay
    if not isinstance(seconds, (int, float)) or not 0 <= seconds < 1e10:
        raise InvalidEvent(f"delay={delay!r}: seconds, from 0 up")
    return int(seconds * 1000), None
