"""The bus of a service: `on` subscribes, `emit` publishes."""

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
from celeriac.handler import Debounce, PerKey, Predicate, Start, make_handler
from celeriac.handler.policy import ErrorPolicies
from celeriac.service import Service
from celeriac.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.outbox.session import AnyAsyncSession, AnySession

F = TypeVar("F", bound=Callable[..., Any])


class EventBus:
    """One service's part of the bus.

    `EventBus(app, service="billing")` works beside what the app already does: its other tasks and
    its settings stay as they were. `EventBus(service="billing")` makes an app, which is `bus.app`.
    Without `service` the bus only emits. Other settings come as keywords or from the environment
    (`CELERIAC_REDIS_URL`, …: see Settings). Connects to nothing before the first emit.

    Several modules may each make the bus of one app and service, with the same settings: what is
    subscribed and declared on one of them is so on all.

    Raises ConfigurationError, which lists every fault at once.
    """

    def __init__(self, app: Celery | None = None, *, service: str = "", **settings: Any) -> None:
        if isinstance(app, str):
            raise ConfigurationError(f"EventBus({app!r}) names no app; EventBus(service={app!r})")
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
        """The Celery app: the given one, or one made for this service at the first use."""
        if self._app is None:
            # Here and not above: who only emits is spared the import of Celery.
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
        """Publishes an event for whoever subscribed, and returns its id.

        When it returns, every handler subscribed at that time gets the event at least once. It
        knows nothing of who they are, and costs the same for any number. Emitting the same `id`
        twice within `dedup_window` is one event. `delay` (seconds or timedelta) or `at` (aware
        datetime) put it off. `handlers` (`service.function`) addresses it to those alone, of the
        ones whose patterns match. Within a handler, cause and correlation follow by themselves.
        `sensitive` are paths of data to be masked, beside what its type marks as Sensitive.
        `encrypt_for` names the services that alone can read the data.

        With `session` (SQLAlchemy), and within Django's `transaction.atomic` of the database
        `using`, the event is written into the outbox there, without a round trip to Redis: it is
        published if the transaction commits, and never if it does not.

        Blocks for one round trip; where Redis is away, for at most `emit_timeout` seconds.
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
        """Publishes any number of events in their order, and returns how many.

        Each is an Event (from `bus.event`), a (type, data) pair, or a mapping of `event`'s
        arguments. They are pipelined, and memory stays bounded however long the iterable is.
        On failure the exception's `emitted` counts the events known to be published; repeating
        with the same ids repeats nothing. `session` and `using` are those of `emit`.
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
        """`emit` for coroutines, on a connection of the running event loop, or in the transaction
        of `session`."""
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
        """`emit_many` for coroutines; takes async iterables too."""
        emitter = self._async if session is None else self._async_emitter_in(session)
        return await emitter.emit_many(events)

    async def aclose(self) -> None:
        """Closes what `aemit` opened in the running event loop."""
        await self._async.close()

    def event(self, type: str, data: Any = None, **attributes: Any) -> Event[Any]:
        """An event of this service, checked and not published: for `emit_many`.

        Takes `emit`'s attributes. Raises InvalidEvent or InvalidData.
        """
        if attributes.get("id") is None:
            attributes["id"] = unpublished_event_id()
        return self._event(type, data, **attributes)

    def _event(self, type: str, data: Any, **attributes: Any) -> Event[Any]:
        given = {name: value for name, value in attributes.items() if value is not None}
        return self.emitter.build(type, data, **given)

    def _emitter_in(self, session: AnySession | None, using: str | None) -> Emitter:
        from celeriac.outbox.event_log import log_in

        event_log = log_in(session, using)
        # In a test on a bus in memory nobody would relay, and there may be no table.
        return (
            self.emitter if event_log is None or Service.instead else self.emitter.into(event_log)
        )

    def _async_emitter_in(self, session: AnyAsyncSession) -> AsyncEmitter:
        from celeriac.outbox.event_log import async_log_in

        return self._async if Service.instead else self._async.into(async_log_in(session))

    def declare(self, type: str, schema: Any, *, encrypt_for: Sequence[str] | None = None) -> None:
        """Says what the data of a type is: emit validates it, by pydantic, msgspec or dataclass.

        `encrypt_for` are the services that its data is encrypted for at each emit that names none.
        Raises InvalidEvent for a bad type, SubscriptionError for what data cannot be read as.
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
        """Subscribes the decorated function, and returns it unchanged.

        patterns: event types; `*` stands for one segment, `#` for zero or more.
        name: the handler's durable identity within the service; the function's name by default.
        when: takes the event and says whether the handler wants it.
        retries, backoff, max_backoff, jitter: see RetryPolicy.
        on_error: exception class → RetryPolicy, or None for dead at once.
        time_limit, soft_time_limit: seconds for one event, as Celery's; it then travels alone.
        rate_limit: '50/s', '600/m' or '5/h', over all workers of the service; PerKey('10/s') for
            the events of each key.
        priority: 0 (normal) to 9 (most urgent).
        queue: a Celery queue of its own; the service's by default.
        batch: the function takes a list of up to so many events.
        ordered: the events of one key one at a time, in order, across retries.
        signed: run only events signed by a key that is trusted for their source and type; the
            setting `require_signature` by default.
        inbox: what opens the transaction that the function runs in, and that notes the event, so
            that its effects happen once: a sessionmaker or Engine of SQLAlchemy, or DjangoInbox.
            The function may take the session as its second parameter.
        start: where a handler seen for the first time begins: 'now', 'beginning' or a time.
        concurrency: so many events at once at most, over all workers of the service; PerKey(2) for
            the events of each key.
        breaker: when the handler is paused because its calls keep failing: see Breaker.
        share: the part of the subjects that it gets, over 0 and up to 1, always the same ones.
        paused: pause it when it is registered for the first time, until an operator resumes it.
        key: what groups events: 'subject' (else partitionkey; the default), 'partitionkey',
            'source', 'type', 'correlationid', an extension attribute, or a path into the data such
            as 'data.tenant'. Events without it share one key, and so do those whose data is
            encrypted, for a path into it.
        fair: keys take turns, as far as the events were read: the next 10,000.
        weights: key → its share of the turns; 1 by default.
        debounce: delivers the events of a key once it is quiet: see Debounce.

        Raises SubscriptionError, at import, with the remedy.
        """

        for pattern in patterns:
            if not isinstance(pattern, str):
                raise SubscriptionError(
                    f"@bus.on got {pattern!r} for a pattern; write @bus.on('order.placed') with "
                    "parentheses, and several patterns as several arguments"
                )

        demands = self.settings.require_signature if signed is None else signed
        self.service.guard.check(signed=demands)

        def subscribe(function: F) -> F:
            handler = make_handler(
                function,
                patterns,
                service=self._named(),
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
                signed=demands,
                inbox=inbox,
                inbox_keep_ms=self._inbox_keep_ms,
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
            self.service.add(handler)
            if self._app is not None:
                from celeriac.worker import register

                register(self._app, handler, self._executor)
            return function

        return subscribe

    def _inbox_keep_ms(self) -> int:
        """Return how long an inbox keeps a row: as long as the event can still be delivered again.

        Follows the settings of the bus. May block for a round trip.
        """
        shared = self.service.backend.bus.current
        return int(max(2 * shared.dedup_window, shared.retention) * 1000)

    def _named(self) -> str:
        if not self.settings.service:
            raise SubscriptionError(
                "a bus without a service cannot subscribe: EventBus(service='billing'), or set "
                "CELERIAC_SERVICE"
            )
        return self.settings.service

    def __repr__(self) -> str:
        return f"EventBus({self.settings.service!r}, handlers={sorted(self.service.handlers)})"


def _emitters_of(service: Service) -> tuple[Emitter, AsyncEmitter]:
    """Their logs are found at each emit: a test on a bus in memory replaces the backend."""
    if service.settings.spool:
        logs = (lambda: service.emitting.event_log), (lambda: service.emitting.async_event_log)
    else:
        logs = (lambda: service.backend.event_log), (lambda: service.backend.async_event_log)
    return make_emitters(service.settings, *logs)


def _buses_of(app: Celery) -> dict[str, EventBus]:
    """The first bus of each service of the app. Kept by the app, so that it lives as long."""
    buses: dict[str, EventBus] = vars(app).setdefault("celeriac_buses", {})
    return buses


def _bus_of(app: Celery, bus: EventBus) -> EventBus | None:
    """Return the first bus of the same service on the app. Raises ConfigurationError where its
    settings are others: a worker has one dispatcher for each service."""
    service = bus.settings.service
    first = _buses_of(app).get(service)
    if first is None or first.settings == bus.settings:
        return first
    if not service:  # both only emit
        return None
    differing = first.settings.differing(bus.settings)
    raise ConfigurationError(
        f"EventBus(service={service!r}) in {bus._made_in} has other settings than the one in "
        f"{first._made_in}, on the same Celery app: {', '.join(differing)}. Give both the same "
        "settings, or import one EventBus in both modules. One that only emits needs no app: "
        "EventBus(redis_url=...)"
    )


def _service_of(app: Celery) -> str:
    """The service's name where none is given: the environment's, else the app's own."""
    return os.environ.get("CELERIAC_SERVICE", "") or (app.main or "")
