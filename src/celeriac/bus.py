"""The bus of a service: `on` subscribes handlers, `emit` publishes events."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from celeriac import transaction
from celeriac.circuit_breaker import Breaker
from celeriac.emitter import AsyncEmitter, Emission, Emitter, check_recipients, make_emitters
from celeriac.errors import ConfigurationError, SubscriptionError
from celeriac.event import Event, check_annotation, unpublished_event_id
from celeriac.event.attributes import check_type
from celeriac.executor import Executor
from celeriac.handler import (
    Debounce,
    HandlerOptions,
    PerKey,
    Predicate,
    Start,
    make_handler,
)
from celeriac.handler.policy import ErrorPolicies
from celeriac.service import Service
from celeriac.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.outbox.session import AnyAsyncSession, AnySession

F = TypeVar("F", bound=Callable[..., Any])


class EventBus:
    """One service's part of the bus.

    `EventBus(app, service="billing")` adds the bus to an existing Celery app; the app's other tasks
    and settings stay as they are. `EventBus(service="billing")` creates an app, `bus.app`. Without
    `service`, the bus only emits. Pass other settings as keywords or in the environment
    (`CELERIAC_REDIS_URL`, …: see Settings). The bus connects at the first emit.

    Several modules may each create a bus for the same app and service, with the same settings. They
    share their handlers and declared types.

    Raises ConfigurationError, which lists every fault.
    """

    def __init__(self, app: Celery | None = None, *, service: str = "", **settings: Any) -> None:
        if isinstance(app, str):
            raise ConfigurationError(
                f"EventBus({app!r}): the first argument must be a Celery app. Write "
                f"EventBus(service={app!r})"
            )
        if app is not None and not service:
            service = _service_of(app)
        self.settings = Settings.load(service=service or None, **settings)
        self._app = app
        caller = sys._getframe(1)
        self._made_in = f"{caller.f_globals.get('__name__')} (line {caller.f_lineno})"
        other = None if app is None else _bus_of(app, self)
        self.service: Service = other.service if other else Service(self.settings)
        self.emitter: Emitter
        self._async: AsyncEmitter
        self.emitter, self._async = (
            (other.emitter, other._async) if other else _emitters_of(self.service)
        )
        self._executor: Executor = other._executor if other else Executor(self.service)
        if app is not None and other is None:
            from celeriac.worker import install

            install(app, self.service)
            _buses_of(app)[self.settings.service] = self

    @property
    def app(self) -> Celery:
        """The Celery app: the given app, or one created for this service at the first access."""
        if self._app is None:
            # Imported here so that producers do not import Celery.
            from celeriac.worker import install, make_app, register

            self._app = make_app(self.settings)
            install(self._app, self.service, own=True)
            _buses_of(self._app)[self.settings.service] = self
            for handler in self.service.handlers.values():
                register(self._app, handler, self._executor)
        return self._app

    # -- publishing

    def emit(
        self,
        type: str,
        data: Any = None,
        *,
        id: str | None = None,
        subject: str | None = None,
        source: str | None = None,
        time: datetime | None = None,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        handlers: Sequence[str] = (),
        partitionkey: str | None = None,
        correlationid: str | None = None,
        causationid: str | None = None,
        traceparent: str | None = None,
        dataschema: str | None = None,
        datacontenttype: str | None = None,
        sensitive: Sequence[str] | None = None,
        encrypt_for: Sequence[str] | None = None,
        extensions: Mapping[str, Any] | None = None,
        session: AnySession | None = None,
        using: str | None = None,
    ) -> str:
        """Publish an event to all subscribed handlers, and return its id.

        After the return, every handler that is subscribed at that time gets the event at least
        once. The cost does not depend on the number of handlers. Emits with the same `id` within
        `dedup_window` are one event. `delay` (seconds or timedelta) or `at` (aware datetime)
        postpones the delivery. `handlers` (`service.function`) restricts the delivery to these
        handlers, if their patterns match. Within a handler, the event inherits its cause and
        correlation. `sensitive` lists paths of data to mask, in addition to fields of its type
        that are marked Sensitive. `encrypt_for` lists the only services that can read the data.

        With `session` (SQLAlchemy), or within Django's `transaction.atomic` of the database
        `using`, the event is written to the outbox without a round trip to Redis. It is published
        if and only if the transaction commits.

        Blocks for one round trip; if Redis is unreachable, for at most `emit_timeout` seconds.
        Raises InvalidEvent, InvalidData, EventTooLarge (nothing was sent), LogFull (nothing was
        written) or BusUnavailable (unknown: emit again with the same id).
        """
        event = self._event(
            type,
            data,
            id=id,
            subject=subject,
            source=source,
            time=time,
            handlers=handlers,
            partitionkey=partitionkey,
            correlationid=correlationid,
            causationid=causationid,
            traceparent=traceparent,
            dataschema=dataschema,
            datacontenttype=datacontenttype,
            sensitive=sensitive,
            encrypt_for=encrypt_for,
            extensions=extensions,
        )
        emitter = self.emitter
        if session is not None or using is not None or transaction.find is not None:
            emitter = self._emitter_in(session, using)
        return emitter.emit(event, delay=delay, at=at, made=id is None)

    def emit_many(
        self,
        events: Iterable[Emission | Mapping[str, Any]],
        *,
        session: AnySession | None = None,
        using: str | None = None,
    ) -> int:
        """Publish any number of events in order, and return their number.

        Each event is an Event (from `bus.event`), a (type, data) pair, or a mapping of the
        arguments of `bus.event`. Events are pipelined; memory use does not depend on their number.
        After a failure, the exception's `emitted` counts the events known to be published; emit
        again with the same ids to publish the rest once. `session` and `using`: see `emit`.
        """
        emitter = self.emitter
        if session is not None or using is not None or transaction.find is not None:
            emitter = self._emitter_in(session, using)
        return emitter.emit_many(events)

    async def aemit(
        self,
        type: str,
        data: Any = None,
        *,
        delay: float | timedelta | None = None,
        at: datetime | None = None,
        session: AnyAsyncSession | None = None,
        **attributes: Any,
    ) -> str:
        """Publish an event as `emit` does, without blocking the running event loop.

        Takes the attributes of `emit`; `session` is an AsyncSession of SQLAlchemy.
        """
        emitter = self._async if session is None else self._async_emitter_in(session)
        event = self._event(type, data, **attributes)
        return await emitter.emit(event, delay=delay, at=at, made=attributes.get("id") is None)

    async def aemit_many(
        self,
        events: Iterable[Emission | Mapping[str, Any]]
        | AsyncIterable[Emission | Mapping[str, Any]],
        *,
        session: AnyAsyncSession | None = None,
    ) -> int:
        """Publish events as `emit_many` does, without blocking; also takes async iterables."""
        emitter = self._async if session is None else self._async_emitter_in(session)
        return await emitter.emit_many(events)

    async def aclose(self) -> None:
        """Close the connection that `aemit` opened in the running event loop."""
        await self._async.close()

    def event(self, type: str, data: Any = None, **attributes: Any) -> Event[Any]:
        """Return a validated event of this service without publishing it, for `emit_many`.

        Takes the attributes of `emit`. Raises InvalidEvent or InvalidData.
        """
        if attributes.get("id") is None:
            attributes["id"] = unpublished_event_id()
        return self._event(type, data, **attributes)

    def _event(self, type: str, data: Any, **attributes: Any) -> Event[Any]:
        given = {name: value for name, value in attributes.items() if value is not None}
        return self.emitter.build(type, data, **given)

    def _emitter_in(self, session: AnySession | None, using: str | None) -> Emitter:
        from celeriac.outbox.event_log import outbox_event_log

        event_log = outbox_event_log(session, using)
        # With the in-memory backend of a test no relay runs, and there may be no table.
        return (
            self.emitter
            if event_log is None or Service.override
            else self.emitter.with_event_log(event_log)
        )

    def _async_emitter_in(self, session: AnyAsyncSession) -> AsyncEmitter:
        from celeriac.outbox.event_log import async_outbox_event_log

        return (
            self._async
            if Service.override
            else self._async.with_event_log(async_outbox_event_log(session))
        )

    def declare(self, type: str, schema: Any, *, encrypt_for: Sequence[str] | None = None) -> None:
        """Declare the data of an event type, which `emit` then validates.

        `schema` is a pydantic model, msgspec Struct, dataclass or TypedDict. `encrypt_for` lists
        the services that the data is encrypted for, unless an emit lists others.

        Raises InvalidEvent for an invalid type, SubscriptionError for an unsupported schema.
        """
        check_type(type)
        check_annotation(schema)
        services = check_recipients(encrypt_for)
        self.emitter.schemas[type] = schema
        self.emitter.recipients.pop(type, None)
        if services:
            self.emitter.recipients[type] = services

    # -- subscribing

    def on(
        self,
        *patterns: str,
        name: str | None = None,
        when: Predicate | None = None,
        retries: int = 5,
        backoff: float = 1.0,
        max_backoff: float = 600.0,
        jitter: float = 0.25,
        on_error: ErrorPolicies | None = None,
        time_limit: float | None = None,
        soft_time_limit: float | None = None,
        rate_limit: str | float | PerKey | None = None,
        priority: int = 0,
        queue: str | None = None,
        batch: int | None = None,
        ordered: bool = False,
        signed: bool | None = None,
        inbox: Any = None,
        start: Start = "now",
        concurrency: int | PerKey | None = None,
        breaker: Breaker | None = None,
        share: float | None = None,
        paused: bool = False,
        key: str | None = None,
        fair: bool = False,
        weights: Mapping[str, float] | None = None,
        debounce: Debounce | None = None,
    ) -> Callable[[F], F]:
        """Return a decorator that subscribes a function and returns it unchanged.

        patterns: event types; `*` matches one segment, `#` zero or more.
        name: the handler's durable identity within the service; the function's name by default.
        when: a function that takes the event and returns whether the handler gets it.
        retries, backoff, max_backoff, jitter: see RetryPolicy.
        on_error: exception class → RetryPolicy, or None to dead-letter at once.
        time_limit, soft_time_limit: seconds for one event, as in Celery; each event is then one
            Celery task.
        rate_limit: '50/s', '600/m' or '5/h', over all workers of the service; PerKey('10/s') is a
            limit for each key.
        priority: 0 (normal) to 9 (most urgent).
        queue: the Celery queue of its tasks; by default the queue of the service.
        batch: the maximum number of events in the list that the function takes.
        ordered: run the events of one key one at a time and in order, across retries.
        signed: run only events signed with a key that is trusted for their source and type; by
            default the setting `require_signature`.
        inbox: run the function in a database transaction that also records the event, so that its
            effects happen once: a sessionmaker or Engine of SQLAlchemy, or a DjangoInbox. The
            function may take the session as its second parameter.
        start: where a new handler begins in the event log: 'now', 'beginning' or an aware datetime.
        concurrency: the maximum number of events at once, over all workers of the service;
            PerKey(2) is a limit for each key.
        breaker: pauses the handler while its calls keep failing: see Breaker.
        share: the part of the subjects that the handler gets, over 0 and up to 1; always the same
            subjects.
        paused: pause the handler at its first registration, until an operator resumes it.
        key: the value that groups events: 'subject' (else partitionkey; the default),
            'partitionkey', 'source', 'type', 'correlationid', an extension attribute, or a path
            into the data, such as 'data.tenant'. Events without a value share one key; for a path
            into the data, so do events whose data is encrypted.
        fair: schedule keys in turn, among the next 10,000 events.
        weights: key → its weight among the keys; 1 by default.
        debounce: delivers the events of a key once it is quiet: see Debounce.

        Raises SubscriptionError, at import, with the remedy.
        """
        for pattern in patterns:
            if not isinstance(pattern, str):
                raise SubscriptionError(
                    f"@bus.on got {pattern!r} as a pattern: must be a str. Write "
                    "@bus.on('order.placed') with parentheses, and each pattern as an argument"
                )
        required = self.settings.require_signature if signed is None else signed
        self.service.guard.check(signed=required)
        options = HandlerOptions(
            name=name,
            when=when,
            retries=retries,
            backoff=backoff,
            max_backoff=max_backoff,
            jitter=jitter,
            on_error=on_error,
            time_limit=time_limit,
            soft_time_limit=soft_time_limit,
            rate_limit=rate_limit,
            priority=priority,
            queue=queue,
            batch=batch,
            ordered=ordered,
            signed=required,
            inbox=inbox,
            start=start,
            concurrency=concurrency,
            breaker=breaker,
            share=share,
            paused=paused,
            key=key,
            fair=fair,
            weights=weights,
            debounce=debounce,
        )

        def subscribe(function: F) -> F:
            handler = make_handler(
                function,
                patterns,
                options,
                service=self._require_service(),
                inbox_keep_ms=self._inbox_keep_ms,
            )
            self.service.add(handler)
            if self._app is not None:
                from celeriac.worker import register

                register(self._app, handler, self._executor)
            return function

        return subscribe

    def _inbox_keep_ms(self) -> int:
        """Return how long, in ms, an inbox keeps a row: while its event can be delivered again.

        Follows the settings of the bus. May block for a round trip.
        """
        shared = self.service.backend.bus.current
        return int(max(2 * shared.dedup_window, shared.retention) * 1000)

    def _require_service(self) -> str:
        if not self.settings.service:
            raise SubscriptionError(
                "the bus has no service and cannot subscribe handlers. Write "
                "EventBus(service='billing'), or set CELERIAC_SERVICE"
            )
        return self.settings.service

    def __repr__(self) -> str:
        return f"EventBus({self.settings.service!r}, handlers={sorted(self.service.handlers)})"


def _emitters_of(service: Service) -> tuple[Emitter, AsyncEmitter]:
    """Return emitters that look up the event log at each emit, because tests replace it."""
    if service.settings.spool:
        logs = (lambda: service.emitting.event_log), (lambda: service.emitting.async_event_log)
    else:
        logs = (lambda: service.backend.event_log), (lambda: service.backend.async_event_log)
    return make_emitters(service.settings, *logs)


def _buses_of(app: Celery) -> dict[str, EventBus]:
    """Return the first bus of each service of the app. The app owns the dict."""
    buses: dict[str, EventBus] = vars(app).setdefault("celeriac_buses", {})
    return buses


def _bus_of(app: Celery, bus: EventBus) -> EventBus | None:
    """Return the first bus of the same service on the app, if any.

    Raises ConfigurationError if its settings differ: a worker has one dispatcher per service.
    """
    service = bus.settings.service
    first = _buses_of(app).get(service)
    if first is None or first.settings == bus.settings:
        return first
    if not service:  # neither subscribes
        return None
    differing = first.settings.differing(bus.settings)
    raise ConfigurationError(
        f"EventBus(service={service!r}) in {bus._made_in} has other settings than the one in "
        f"{first._made_in}, on the same Celery app: {', '.join(differing)}. Give both the same "
        "settings, or import one EventBus in both modules. A bus that only emits needs no app: "
        "EventBus(redis_url=...)"
    )


def _service_of(app: Celery) -> str:
    """Return the default service name: from the environment, else the name of the app."""
    return os.environ.get("CELERIAC_SERVICE", "") or (app.main or "")
