"""Build an event, validate it, and append it to its domain's event log with one XADD."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, Self, TypeVar

import redis
from msgspec.structs import replace

from celeriac.contract import VERSIONS, written_as
from celeriac.emitter.interrupted import note_interrupted
from celeriac.emitter.known_domains import KnownDomains
from celeriac.emitter.tenant_limit import TenantLimit
from celeriac.errors import InvalidEvent
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
from celeriac.event_log.delayed import when_ms
from celeriac.event_log.registered import kind_delayed, kind_of_id
from celeriac.middleware import EmitHooks, Through
from celeriac.security import Encrypter, make_encrypter, make_signer
from celeriac.security.subject_key import SubjectKeys
from celeriac.settings import Settings
from celeriac.store.redis.connection import persist
from celeriac.store.redis.refusal import nothing_written
from celeriac.transfer import PORTION_BYTES, transfer_time

T = TypeVar("T")
Emission = Event[Any] | tuple[str, Any]
PIPELINE = 500
MADE, GIVEN = EntryKind.MADE, EntryKind.GIVEN
NEW = (MADE, 0)
NO_ATTRIBUTES: frozenset[str] = frozenset()


class Emitter:
    """Emits to one event log. Thread-safe and fork-safe; connects at the first emit."""

    def __init__(
        self,
        settings: Settings,
        event_log: Callable[[], EventLog],
        hooks: EmitHooks | None = None,
        subject_keys: SubjectKeys | None = None,
    ) -> None:
        self.settings = settings
        self.hooks = hooks
        self._subject_keys = subject_keys
        self.schemas: dict[str, Any] = {}
        self.recipients: dict[str, tuple[str, ...]] = {}
        self._signer = make_signer(settings)
        # None if the service may emit events of all tenants: then no event is checked.
        self._tenants = TenantLimit(settings.tenant_names) if settings.tenant_names else None
        # Written into each event, because its readers may have other settings.
        self.sensitive_paths = tuple(
            f"{DEEP}.{escaped(name)}" for name in sorted(settings.sensitive_names)
        )
        self._encrypter: Encrypter | None = None
        self._event_log = event_log
        self._known_domains = KnownDomains()

    def with_event_log(self, event_log: Any) -> Self:
        """Return the same emitter with another event log."""
        other = copy(self)
        other._event_log = lambda: event_log
        other._known_domains = KnownDomains()
        return other

    def build(self, type: str, data: Any = None, **attributes: Any) -> Event[Any]:
        """Return a new event whose data is validated against its declared type.

        Raises InvalidEvent or InvalidData.
        """
        data, marked, dataschema = self._declared(type, data, attributes)
        if marked or "sensitive" in attributes:
            attributes["sensitive"] = join_paths(marked, attributes.get("sensitive", ()))
        if self._tenants is not None:
            self._tenants.complete(attributes)
        if not attributes:
            return plain_event(type, data, source=self.settings.source, dataschema=dataschema)
        if dataschema is not None:
            attributes["dataschema"] = dataschema
        services = check_recipients(attributes.pop("encrypt_for", None))
        if "source" not in attributes:
            attributes["source"] = self.settings.source
        event = build_event(type, data, **attributes)
        return self._encrypted(event, services) if services else event

    def encode(self, event: Event[Any], *, valid: bool = False) -> bytes:
        """Return the event as bytes: encrypted if declared for its type, signed if there is a key.

        Raises InvalidEvent.
        """
        raw = self.encode_unsigned(event, valid=valid)
        return raw if self._signer is None else self._signer.sign(raw)

    def encode_unsigned(self, event: Event[Any], *, valid: bool = False) -> bytes:
        """Return what `encode` returns, without the signature, which `signed` adds."""
        if self._tenants is not None:
            self._tenants.check(event.tenant)
        if self.recipients and event.type in self.recipients and not is_encrypted(event):
            event = self._encrypted(event, self.recipients[event.type])
        if event.keyid is not None or event.signature is not None:
            # A received event: its signature does not cover the bytes that are emitted now.
            event = replace(event, keyid=None, signature=None)
        return encode(event, max_bytes=self.settings.max_event_bytes, valid=valid)

    @property
    def tenant(self) -> str | None:
        """The tenant of events without one: that of a service with exactly one tenant."""
        return None if self._tenants is None else self._tenants.default

    def signed(self, items: list[Item]) -> list[Item]:
        """Return the items, with their events signed if there is a key."""
        if self._signer is None:
            return items
        bodies = self._signer.sign_many([item[1] for item in items])
        return [
            (domain, body, kind, since)
            for (domain, _, kind, since), body in zip(items, bodies, strict=True)
        ]

    def _encrypted(self, event: Event[Any], services: Sequence[str]) -> Event[Any]:
        if self._encrypter is None:
            self._encrypter = make_encrypter(self.settings, self._subject_keys)
        return self._encrypter(event, services)

    def emit(
        self,
        event: Event[Any],
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        made: bool = False,
    ) -> str:
        """Append the event, or store it with its delay; return its id. See EventBus.emit.

        `made` means that `build` made it for this call, with a new id.
        """
        if self.hooks is None:
            self._emit(event, delay, at, made)
            return event.id
        with self.hooks.around_one(event) as changed:
            self._emit(changed, delay, at, made and changed.id == event.id)
        return changed.id

    def emit_body(self, event: Event[Any]) -> bytes:
        """Append the event; return the appended bytes."""
        if self.hooks is None:
            return self._emit(event, None, None, False)
        with self.hooks.around_one(event) as changed:
            return self._emit(changed, None, None, False)

    def _emit(
        self,
        event: Event[Any],
        delay: float | timedelta | None,
        at: datetime | None,
        made: bool,
    ) -> bytes:
        # `build` has checked it, and only middleware can have changed it.
        body = self.encode(event, valid=made and self.hooks is None)
        delay_ms, at_ms = when_ms(delay, at)
        event_log, domain = self._event_log(), event.domain
        kind, since = NEW if made else self.kind_of_id(event.id)

        def append() -> None:
            nonlocal since
            if not self._known_domains.knows(event_log, domain):
                self._register(event_log, (domain,))
            if delay_ms is None and at_ms is None:
                try:
                    event_log.append(domain, body, kind, since)
                except redis.RedisError as error:
                    if not nothing_written(error):
                        since = made_ms(event.id)
                    raise
            else:
                event_log.append_delayed(
                    domain, body, delay_ms=delay_ms, at_ms=at_ms, kind=self.kind_delayed(kind)
                )

        self._persist(append, len(body))
        record_emitted((event,))
        event_log.note_emitted((event.type,))
        return body

    def emit_many(self, events: Iterable[Emission | Mapping[str, Any]]) -> int:
        """Append any number of events; return their number. See EventBus.emit_many.

        A round trip sends at most PIPELINE events and about PORTION_BYTES.
        """
        if self.hooks is None:
            return self._emit_many(events, None)
        with self.hooks.around(None) as through:
            return self._emit_many(events, through)

    def _emit_many(
        self, events: Iterable[Emission | Mapping[str, Any]], through: Through | None
    ) -> int:
        emitted = 0
        event_log = self._event_log()
        given = iter(events)
        while chosen := self._encoded(given, event_log, emitted, through):
            chosen_events, items = chosen
            done = 0

            def append(items: list[Item] = items) -> None:
                nonlocal done
                self._register(event_log, {item[0] for item in items[done:]})
                began = time_ms()
                try:
                    event_log.append_many(items[done:])
                except BaseException as error:
                    # The events before the failure are confirmed; retry only the rest.
                    done += getattr(error, "appended", 0)
                    items[done:] = tried_at(began, items[done:])
                    raise

            try:
                self._persist(append, sum(len(item[1]) for item in items))
            except BaseException as error:
                note_interrupted(
                    error, event_log, self.hooks, chosen_events, appended=done, before=emitted
                )
                raise
            if self.hooks is not None:
                self.hooks.appended(chosen_events)
            record_emitted(chosen_events)
            event_log.note_emitted([event.type for event in chosen_events])
            emitted += len(items)
        return emitted

    def as_item(
        self,
        given: Emission | Mapping[str, Any],
        ids: Iterator[str],
        through: Through | None,
    ) -> tuple[Event[Any], Item]:
        """Return the event of an argument of emit_many as middleware changed it, and its item,
        which `signed` signs. Raises InvalidEvent."""
        event = self.as_event(given, ids)
        kind, since = NEW if type(given) is tuple else self.kind_of(given)
        is_valid = not isinstance(given, Event)
        if through is not None:
            original, event = event, through(event)
            if event.id != original.id:
                kind, since = self.kind_of_id(event.id)
            is_valid = False
        body = self.encode_unsigned(event, valid=is_valid)
        return event, (event.domain, body, kind, since)

    def kind_of(self, given: Emission | Mapping[str, Any]) -> tuple[EntryKind, int]:
        """Return the kind of an argument of emit_many, and when `emit` made its id."""
        if isinstance(given, Event):
            return self.kind_of_id(given.id)
        if isinstance(given, Mapping) and (id := given.get("id")) is not None:
            return self.kind_of_id(id)
        return NEW

    def kind_of_id(self, id: str) -> tuple[EntryKind, int]:
        """Return the kind of a given id, and when `emit` made it, in ms since the epoch.

        These are `kind` and `since_ms` of EventLog.append.
        """
        return kind_of_id(id, signed=self._signer is not None)

    def kind_delayed(self, kind: EntryKind) -> EntryKind:
        """Return the kind of a delayed event."""
        return kind_delayed(kind, signed=self._signer is not None)

    def _encoded(
        self,
        events: Iterator[Emission | Mapping[str, Any]],
        event_log: EventLog,
        emitted: int,
        through: Through | None,
    ) -> tuple[list[Event[Any]], list[Item]] | None:
        """Return the next events of one pipeline, with their encoded items; None at the end."""
        ids = new_event_ids(PIPELINE)
        chosen: list[Event[Any]] = []
        items: list[Item] = []
        size = 0
        try:
            for given in islice(events, PIPELINE):
                event, item = self.as_item(given, ids, through)
                chosen.append(event)
                items.append(item)
                size += len(item[1])
                if size >= PORTION_BYTES:
                    break
        except BaseException as error:
            note_interrupted(error, event_log, self.hooks, chosen, before=emitted)
            raise
        return (chosen, self.signed(items)) if chosen else None

    def as_event(self, given: Emission | Mapping[str, Any], ids: Iterator[str]) -> Event[Any]:
        """Return the event of an Event, a (type, data) pair or a mapping of emit's arguments."""
        if type(given) is tuple and len(given) == 2:
            return self._pair(*given, next(ids))
        if isinstance(given, Event):
            return given
        if isinstance(given, Mapping):
            if later := given.keys() & {"delay", "at"}:
                raise InvalidEvent(
                    f"emit_many does not support {' and '.join(sorted(later))}. Call emit for a "
                    "delayed event"
                )
            return self._build(given)
        if isinstance(given, tuple) and len(given) == 2:
            return self.build(*given)
        shape = f" of {len(given)}" if isinstance(given, tuple) else ""
        raise InvalidEvent(
            f"cannot emit {type(given).__name__}{shape}. Give (type, data), an Event, or a mapping "
            "with 'type' and 'data'"
        )

    def _pair(self, type: str, data: Any, id: str) -> Event[Any]:
        if self._tenants is not None:
            return self.build(type, data, id=id)
        data, marked, dataschema = self._declared(type, data, NO_ATTRIBUTES)
        source = self.settings.source
        if marked:
            return build_event(
                type, data, source=source, id=id, sensitive=marked, dataschema=dataschema
            )
        return plain_event(type, data, source=source, id=id, dataschema=dataschema)

    def _declared(
        self, type: str, data: Any, attributes: Container[str]
    ) -> tuple[Any, str | None, str | None]:
        """Return the data as its declared type, the paths of its sensitive fields, and its
        `dataschema` by a contract, unless it is one of the `attributes`."""
        try:
            schema = self.schemas.get(type, Any)
        except TypeError:
            raise InvalidEvent(
                f"`type` must be a string, got {type.__class__.__name__}. Give the type first, "
                "then the data: emit('order.placed', data)"
            ) from None
        if schema is not Any:
            data = validate_for_emit(type, data, schema)
        kind = data.__class__
        marked = sensitive_attribute(schema, kind)
        if self.sensitive_paths:
            marked = join_paths(marked, self.sensitive_paths)
        versions = VERSIONS.get(type)
        if versions is None or "dataschema" in attributes:
            return data, marked, None
        return data, marked, written_as(versions, kind, schema)

    def _build(self, given: Mapping[str, Any]) -> Event[Any]:
        try:
            return self.build(**given)
        except TypeError as error:
            raise InvalidEvent(
                f"cannot emit a mapping with {sorted(given)}. It may have type, data, and the "
                "attributes that emit takes"
            ) from error

    def _register(self, event_log: EventLog, domains: Iterable[str]) -> None:
        new = self._known_domains.missing(event_log, domains)
        if new:
            event_log.register_domains(new)
            self._known_domains.add(new)

    def _persist(self, call: Callable[[], T], size: int) -> T:
        seconds = self.settings.emit_timeout + transfer_time(size)
        return persist(call, url=self.settings.redis_url, seconds=seconds)


def check_recipients(given: Any) -> tuple[str, ...]:
    """Return the names in `encrypt_for`. Raises InvalidEvent unless it is a list of names.

    An empty list is refused, because then nothing would be encrypted.
    """
    if given is None:
        return ()
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidEvent(f"encrypt_for={given!r}: must be a list of services, like ['billing']")
    names = tuple(given)
    if not names or not all(isinstance(name, str) for name in names):
        raise InvalidEvent(f"encrypt_for={given!r}: must contain at least one service name (str)")
    return names
