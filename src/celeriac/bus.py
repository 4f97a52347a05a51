"""The bus of a service: `on` subscribes handlers, `emit` publishes events."""

# Longer than 400 lines because most of it is the signature and docstring of each public method,
# which editors and the API reference show. The work is in the parts that it calls. Registration in
# a class of its own would need the same signatures here again.

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterable, Callable, Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Never, TypeVar, overload

from celeriac import transaction
from celeriac.circuit_breaker import Breaker
from celeriac.emitter import (
    AsyncEmitter,
    Emission,
    Emitter,
    ReturnedEvents,
    Until,
    arequest,
    cancel_event,
    check_recipients,
    declare_schedule,
    make_request,
    request,
)
from celeriac.emitter.request import Gathering
from celeriac.errors import ConfigurationError, SubscriptionError
from celeriac.event import Event, check_annotation, unpublished_event_id
from celeriac.event.attributes import check_type
from celeriac.executor import Executor
from celeriac.extra import needing
from celeriac.handler import (
    Debounce,
    Handler,
    HandlerOptions,
    PerKey,
    Predicate,
    Start,
    make_handler,
)
from celeriac.handler.broadcast import Scope, make_broadcast_handler
from celeriac.handler.policy import ErrorPolicies
from celeriac.middleware import EmitHooks, Middleware
from celeriac.schedule import Missed, make_schedule
from celeriac.security.subject_key import Erasure, SubjectKeys
from celeriac.service import Service
from celeriac.settings import Settings
from celeriac.store.redis.connection import persist
from celeriac.tenant import NoTenant
from celeriac.unknown_argument import OF_TASK, refusal_of

if TYPE_CHECKING:
    from celery import Celery

    from celeriac.outbox.session import AnyAsyncSession, AnySession
    from celeriac.process import Process
    from celeriac.push.endpoint import FindEndpoints
    from celeriac.tracking import Matrix

F = TypeVar("F", bound=Callable[..., Any])
P = TypeVar("P", bound="type[Process[Any]]")


class EventBus:
    """One service's connection to the bus: `emit` publishes events, `on` subscribes handlers.

    `EventBus(app, service="billing")` adds handlers to an existing Celery app and changes nothing
    else in it. `EventBus(service="billing")` makes an app, which is `bus.app`. Without `service`,
    the bus only emits. Pass further settings as keywords, or set `CELERIAC_…` variables: see
    [Settings][celeriac.Settings]. The constructor does not connect; the first emit does.

    Several modules can construct the bus of one app and service with the same settings. They share
    handlers and declarations.

    Args:
        app: The Celery app whose workers run the handlers.
        service: First part of each handler's id, and the name of its queue. Defaults to the app's
            name.
        middleware: Hooks around each emit and each attempt.
        subject_keys: The store of the keys of subjects, for data that can be erased.
        **settings: Any field of Settings.

    Raises:
        ConfigurationError: A setting is wrong. The message lists every fault.
    """

    def __init__(
        self,
        app: Celery | None = None,
        *,
        service: str = "",
        middleware: Sequence[Middleware] = (),
        subject_keys: SubjectKeys | None = None,
        **settings: Any,
    ) -> None:
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
        self.service: Service = (
            other.service if other else Service(self.settings, middleware, subject_keys)
        )
        if other and subject_keys is not None:
            raise ConfigurationError(
                f"EventBus(subject_keys=...) in {self._made_in}: the service "
                f"{self.settings.service!r} has a bus already, made in {other._made_in}. "
                "Give the keys to that one."
            )
        if other and middleware:
            raise ConfigurationError(
                f"EventBus(middleware=...) in {self._made_in}: the service "
                f"{self.settings.service!r} has a bus already, made in {other._made_in}. "
                "Give the middleware to that one."
            )
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
        """Return the Celery app: the given one, or one made for this service at the first use."""
        if self._app is None:
            # Imported here so that producers do not import Celery.
            from celeriac.worker import install, make_app, register

            self._app = make_app(self.settings)
            install(self._app, self.service, is_celeriac_app=True)
            _buses_of(self._app)[self.settings.service] = self
            for handler in self.service.handlers.values():
                register(self._app, handler, self._executor)
        return self._app

    @property
    def matrix(self) -> Matrix:
        """What became of each event at each handler. Reading it blocks and changes nothing."""
        # Imported here: few processes that emit read it.
        from celeriac.tracking import Matrix

        return Matrix(self.service.backend, self.settings.sensitive_names)

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
        tenant: str | NoTenant | None = None,
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
        **unknown: Never,
    ) -> str:
        """Publish an event and return its id.

        When it returns, every handler that is subscribed at that time gets the event at least once.
        The cost does not depend on the number of handlers. The same source and `id` within
        `dedup_window` are one event, so a repeated call is safe. Inside a handler, `correlationid`
        and `causationid` default to those of the event being handled.

        With `session`, or inside Django's `transaction.atomic` of the database `using`, the event
        goes into the outbox there, without a round trip to Redis. It is published if the
        transaction commits, and never if it does not.

        Blocks for one round trip; while Redis is down, for at most `emit_timeout` seconds.

        Args:
            delay: Seconds or a timedelta until handlers may run. Excludes `at`.
            at: Time from which handlers may run, with a time zone.
            handlers: Ids, `service.function`, of the handlers that get the event, of those whose
                patterns match. Default: all.
            tenant: The tenant that the event belongs to. Default: inside a handler, that of the
                event being handled, unless it takes a list. `NO_TENANT` emits it without one.
            sensitive: Paths of data to mask, in addition to fields that are marked Sensitive.
            encrypt_for: Services that can read the data, and the subject whose key encrypts it.
            session: A SQLAlchemy session in whose transaction the event is written.
            using: The alias of a Django database.

        Raises:
            InvalidEvent: An attribute is invalid. InvalidData and EventTooLarge are subclasses.
                Nothing was sent.
            LogFull: There is no room. Nothing was written.
            BusUnavailable: Redis did not answer. The event may be written: emit it again with the
                same id.
        """
        event = self._event(
            type,
            data,
            id=id,
            subject=subject,
            source=source,
            time=time,
            # Without any attribute, an event is built faster.
            handlers=None if handlers == () else handlers,
            partitionkey=partitionkey,
            tenant=tenant,
            correlationid=correlationid,
            causationid=causationid,
            traceparent=traceparent,
            dataschema=dataschema,
            datacontenttype=datacontenttype,
            sensitive=sensitive,
            encrypt_for=encrypt_for,
            extensions=extensions,
            **unknown,
        )
        emitter = self._emitter_in(session, using)
        return emitter.emit(event, delay=delay, at=at, made=id is None)

    def emit_many(
        self,
        events: Iterable[Emission | Mapping[str, Any]],
        *,
        session: AnySession | None = None,
        using: str | None = None,
    ) -> int:
        """Publish events in their order and return how many.

        Each is an Event made by `event`, a `(type, data)` pair, or a mapping of `event`'s
        arguments. They are pipelined, and memory stays bounded for any length of the iterable.
        `session` and `using` are those of `emit`. Blocks; raises the errors of `emit`, whose
        `emitted` is the number of events that were confirmed. Repeating with the same ids publishes
        nothing twice.
        """
        return self._emitter_in(session, using).emit_many(events)

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
        """Do what `emit` does without blocking the event loop.

        Uses a connection of the running event loop, or the transaction of `session`.
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
        """Do what `emit_many` does without blocking the event loop. Takes async iterables, too."""
        emitter = self._async if session is None else self._async_emitter_in(session)
        return await emitter.emit_many(events)

    @overload
    def request(  # pyright: ignore[reportOverlappingOverload]
        self,
        type: str,
        data: Any = None,
        *,
        timeout: float = 5.0,
        replies: int,
        until: Until = "replies",
        **attributes: Any,
    ) -> list[Event[Any]]: ...
    @overload
    def request(
        self, type: str, data: Any = None, *, timeout: float = 5.0, until: Until, **attributes: Any
    ) -> list[Event[Any]]: ...
    @overload
    def request(
        self, type: str, data: Any = None, *, timeout: float = 5.0, **attributes: Any
    ) -> Event[Any]: ...
    def request(
        self,
        type: str,
        data: Any = None,
        *,
        timeout: float = 5.0,
        replies: int | None = None,
        until: Until | None = None,
        **attributes: Any,
    ) -> Event[Any] | list[Event[Any]]:
        """Emit an event and wait for the reply that a handler returns: its first `Reply`.

        With `replies` or `until`, return a list of replies, in the order in which they came. The
        request and its replies are ordinary events: durable, and visible in Flower. A reply that
        comes later is in the event log, with the extension attribute `late`.

        Blocks for at most `timeout` and the time of the emit. Does not join a database transaction,
        because handlers would not get the
        request before its commit.

        Args:
            timeout: Seconds to wait for replies.
            replies: How many replies to wait for, from several handlers.
            until: `'replies'` raises NoReply if there are fewer. `'timeout'` returns those that
                came by then, at most `replies` of them.
            **attributes: Further attributes of `emit`, such as `subject`.

        Raises:
            NoReply: There were too few replies in time. Its `replies` are those that came.
            InvalidEvent: The request is invalid.
            LogFull: There is no room. Nothing was written.
            BusUnavailable: Redis did not answer.
        """
        gathering = self._request(type, data, timeout, replies, until or "replies", attributes)
        answers = request(self.emitter, self.service.backend.replies, gathering)
        return answers[0] if replies is None and until is None else answers

    @overload
    async def arequest(  # pyright: ignore[reportOverlappingOverload]
        self,
        type: str,
        data: Any = None,
        *,
        timeout: float = 5.0,
        replies: int,
        until: Until = "replies",
        **attributes: Any,
    ) -> list[Event[Any]]: ...
    @overload
    async def arequest(
        self, type: str, data: Any = None, *, timeout: float = 5.0, until: Until, **attributes: Any
    ) -> list[Event[Any]]: ...
    @overload
    async def arequest(
        self, type: str, data: Any = None, *, timeout: float = 5.0, **attributes: Any
    ) -> Event[Any]: ...
    async def arequest(
        self,
        type: str,
        data: Any = None,
        *,
        timeout: float = 5.0,
        replies: int | None = None,
        until: Until | None = None,
        **attributes: Any,
    ) -> Event[Any] | list[Event[Any]]:
        """Do what `request` does without blocking the event loop."""
        gathering = self._request(type, data, timeout, replies, until or "replies", attributes)
        answers = await arequest(self._async, self.service.backend.replies, gathering)
        return answers[0] if replies is None and until is None else answers

    def _request(
        self,
        type: str,
        data: Any,
        timeout: float,
        replies: int | None,
        until: Until,
        attributes: Mapping[str, Any],
    ) -> Gathering:
        return make_request(
            self.emitter,
            self.service.guard,
            type,
            data,
            timeout=timeout,
            count=replies,
            until=until,
            attributes=attributes,
        )

    def cancel(
        self,
        id: str,
        *,
        type: str | None = None,
        source: str | None = None,
        session: AnySession | None = None,
        using: str | None = None,
    ) -> bool:
        """Cancel an event that was emitted with `delay` or `at`; return whether it was cancelled.

        A cancelled event never reaches a handler. Returns False if the event was published, because
        its time has come, or is not in Redis: it was never emitted, was cancelled before, or is
        still in an outbox or a spool. Blocks like `emit`.

        In a transaction, it writes to the outbox, behind the event, and returns True: if the
        transaction commits, the relay cancels the event unless its time has come.

        Args:
            id: What `emit` returned.
            type: The type of the event. Without it, every domain is searched. Required in a
                transaction.
            source: The source of the event. Default: the setting `source`.
            session: Cancel in the transaction of this Session or Connection of SQLAlchemy.
            using: Cancel in Django's open transaction of this database.

        Raises:
            BusUnavailable: Redis did not answer. The event may be cancelled.
            InvalidEvent: An argument is invalid, or the type is missing in a transaction.
        """
        if (session is not None or using is not None) and Service.override is None:
            from celeriac.outbox.event_log import outbox_event_log

            outbox = outbox_event_log(session, using)
            if outbox is not None:
                outbox.cancel(id, type, source or self.settings.source)
                return True
        event_log = self.service.backend.event_log
        return cancel_event(event_log, self.settings, id, type, source)

    async def acancel(
        self,
        id: str,
        *,
        type: str | None = None,
        source: str | None = None,
        session: AnyAsyncSession | None = None,
    ) -> bool:
        """Do what `cancel` does without blocking the event loop: in a thread, or in the transaction
        of this AsyncSession or AsyncConnection."""
        if session is not None and Service.override is None:
            from celeriac.outbox.event_log import async_outbox_event_log

            outbox = async_outbox_event_log(session)
            await outbox.cancel(id, type, source or self.settings.source)
            return True
        return await asyncio.to_thread(self.cancel, id, type=type, source=source)

    def erase(self, subject: str, *, actor: str, reason: str = "") -> Erasure:
        """Destroy the key of a subject, such as a customer, permanently.

        All data that was encrypted with it is unreadable after 60 seconds at most, wherever it is
        stored. The erasure is recorded with the key, and in the audit log. Idempotent: a repeated
        call returns the first erasure. Blocks; in a coroutine, call it with `asyncio.to_thread`.

        Args:
            actor: Who erases, such as a user name.
            reason: Why, such as the number of a request.

        Raises:
            ConfigurationError: The bus has no `subject_keys`.
            SubjectKeysUnavailable: Their store failed.
            BusUnavailable: Redis did not answer. The key is destroyed, and the audit log may have
                no record of it. Call it again.
        """
        from celeriac.dead_letter import erase_subject

        keys = self.service.guard.subject_keys
        if keys is None:
            raise ConfigurationError(
                f"erase({subject!r}): this bus has no keys of subjects. "
                "Pass EventBus(subject_keys=...)"
            )
        return erase_subject(
            self.service.backend,
            keys,
            subject,
            actor=actor,
            reason=reason,
            persist=partial(
                persist, url=self.settings.redis_url, seconds=self.settings.emit_timeout
            ),
        )

    async def aclose(self) -> None:
        """Close the connections that `aemit` and `arequest` opened in the running event loop.

        Idempotent.
        """
        await self._async.close()
        await self.service.backend.replies.disconnect()

    def event(self, type: str, data: Any = None, **attributes: Any) -> Event[Any]:
        """Return a valid event of this service without publishing it, for `emit_many`.

        Takes the attributes of `emit`. Raises InvalidEvent or InvalidData.
        """
        if attributes.get("id") is None:
            attributes["id"] = unpublished_event_id()
        return self._event(type, data, **attributes)

    def _event(self, type: str, data: Any, **attributes: Any) -> Event[Any]:
        given = {name: value for name, value in attributes.items() if value is not None}
        return self.emitter.build(type, data, **given)

    def _emitter_in(self, session: AnySession | None, using: str | None) -> Emitter:
        if session is None and using is None and transaction.find is None:
            return self.emitter
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
        """Declare the model of a type's data, which `emit` then validates.

        Args:
            schema: A pydantic model, a msgspec Struct, a dataclass or a TypedDict.
            encrypt_for: Services to encrypt the data for, in each `emit` that names none.

        Raises:
            InvalidEvent: The type is invalid.
            SubscriptionError: Data cannot be read as `schema`.
        """
        check_type(type)
        check_annotation(schema)
        services = check_recipients(encrypt_for)
        self.emitter.schemas[type] = schema
        self.emitter.recipients.pop(type, None)
        if services:
            self.emitter.recipients[type] = services

    def schedule(
        self,
        type: str,
        data: Any = None,
        *,
        cron: str | None = None,
        tz: str = "UTC",
        every: float | timedelta | None = None,
        missed: Missed = "last",
        name: str | None = None,
        **attributes: Any,
    ) -> None:
        """Emit an event at recurring times, each exactly once.

        Every running worker of the service can emit it; no worker is a leader, and no further
        process is needed. The id of the event is derived from the service, `name` and the time of
        the tick, which is also its `time`. Times that passed while no worker ran are missed.

        Args:
            cron: Minute, hour, day of the month, month, day of the week: `'0 6 * * MON-FRI'`. Needs
                `celeriac[cron]`.
            tz: The time zone of `cron`.
            every: Seconds or a timedelta, instead of `cron`: all multiples of it since 1970.
            missed: Of missed ticks, emit the `'last'` one, `'none'` or `'all'`.
            name: Identifies the schedule within the service. Default: `type`.
            **attributes: Further attributes of `emit`, such as `subject`.

        Raises:
            ConfigurationError: An argument is wrong, or the name is taken. Raised at import.
            InvalidEvent: The event is invalid.
        """
        schedule = make_schedule(
            type,
            service=self._require_service(),
            name=name,
            cron=cron,
            tz=tz,
            every=every,
            missed=missed,
        )
        self.service.add_schedule(declare_schedule(self.emitter, schedule, data, attributes))

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
        tenants: Sequence[str] | None = None,
        paused: bool = False,
        key: str | None = None,
        fair: bool = False,
        weights: Mapping[str, float] | None = None,
        debounce: Debounce | None = None,
        broadcast: bool | Scope = False,
        **unknown: Never,
    ) -> Callable[[F], F]:
        """Subscribe the decorated function as a handler and return it unchanged.

        Args:
            *patterns: Event types. `*` matches one segment, `#` zero or more.
            name: The handler's permanent name within the service. Default: the function's name.
            when: Takes the event; a false result skips it.
            retries: Attempts after the first. See RetryPolicy.
            backoff: Seconds before the first retry, doubled for each further one.
            max_backoff: Upper limit of the backoff, in seconds.
            jitter: Random part, of the backoff, that is added to it.
            on_error: Exception class → RetryPolicy, or None to dead-letter at once.
            time_limit: Seconds for one event, as Celery's. Each event then has its own task.
            soft_time_limit: The same for Celery's soft limit.
            rate_limit: `'50/s'`, `'600/m'` or `'5/h'` over all workers of the service;
                `PerKey('10/s')` for each key.
            priority: 0 (normal) to 9 (most urgent).
            queue: The handler's own Celery queue. Default: the service's.
            batch: Pass a list of up to this many events.
            ordered: Run the events of one key one at a time and in order, across retries.
            signed: Run only events with a trusted signature. Default: `require_signature`.
            inbox: Opens the transaction that the function runs in and that records the event: a
                SQLAlchemy sessionmaker or Engine, or DjangoInbox. The function may take the session
                as its second parameter.
            start: Where a new handler begins: `'now'`, `'beginning'` or a time.
            concurrency: Deliveries in flight over all workers; `PerKey(2)` for each key.
            breaker: When to pause the handler because its calls fail. See Breaker.
            share: The part of the subjects that it gets, above 0 and at most 1.
            tenants: The tenants whose events it gets; it skips the others, and events without a
                tenant. Default: all events.
            paused: Pause it at its first registration, until an operator resumes it.
            key: What groups events: `'subject'` (else `partitionkey`), `'partitionkey'`,
                `'tenant'`, `'source'`, `'type'`, `'correlationid'`, an extension attribute, or a
                path such as `'data.tenant'`. Events without a value, and encrypted data, share one
                key.
            fair: Let keys take turns, among the next 10,000 events.
            weights: Key → its share of the turns, 1 by default.
            debounce: Deliver the events of a key once it is quiet. See Debounce.
            broadcast: Call the function in every worker instance while it lives, at most once for
                each event, without retries and records; with `'process'` in each pool process. Only
                `name`, `tenants`, `when` and `signed` may be given too.

        Raises:
            SubscriptionError: An option is wrong. Raised at import, with the remedy.
        """
        for pattern in patterns:
            if not isinstance(pattern, str):
                raise SubscriptionError(
                    f"@bus.on got {pattern!r} as a pattern: must be a str. Write "
                    "@bus.on('order.placed') with parentheses, and each pattern as an argument"
                )
        if unknown:
            known = ("broadcast", *(option.name for option in fields(HandlerOptions)))
            raise SubscriptionError(refusal_of("@bus.on", unknown, known, OF_TASK))
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
            tenants=tenants,
            paused=paused,
            key=key,
            fair=fair,
            weights=weights,
            debounce=debounce,
        )

        def subscribe(function: F) -> F:
            service = self._require_service()
            if broadcast is not False:
                self.service.add_broadcast(
                    make_broadcast_handler(
                        function, patterns, options, service=service, broadcast=broadcast
                    )
                )
                return function
            handler = make_handler(
                function,
                patterns,
                options,
                service=service,
                inbox_keep_ms=self._inbox_keep_ms,
                returned=ReturnedEvents(
                    self.settings,
                    self._emitter_in,
                    self._async_emitter_in,
                    lambda: self.service.backend.replies,
                ),
            )
            self._add(handler)
            return function

        return subscribe

    def process(self, process: P, **options: Any) -> P:
        """Subscribe a subclass of [Process][celeriac.process.Process] and return it unchanged.

        It is one handler, `service.name`. Can be a decorator.

        Args:
            process: The class.
            **options: `retries`, `queue`, `ordered`, `signed` and others of `on`.

        Raises:
            SubscriptionError: The class or an option is wrong. Raised at import, with the remedy.
        """
        from celeriac.process.register import process_handler

        required = self.settings.require_signature
        if options.get("signed") is not None:
            required = options["signed"]
        self.service.guard.check(signed=required)
        handler = process_handler(
            process,
            {**options, "signed": required},
            service=self._require_service(),
            emitter=self.emitter,
            inbox_keep_ms=self._inbox_keep_ms,
        )
        self._add(handler)
        return process

    def push(self, *patterns: str, url: str, name: str, **options: Any) -> None:
        """Subscribe a handler in any language: send each event to `url` as an HTTP request.

        [Push](../push.md) lists the options and what each status means. Needs `celeriac[push]`.

        Args:
            *patterns: Event types, as of `on`.
            url: Where to send the events. A secret belongs into `headers` or `secrets`.
            name: The handler's permanent name within the service.
            **options: `structured`, `timeout`, `headers`, `secrets`, and options of `on`.

        Raises:
            ConfigurationError: An argument is wrong. Raised at import, with the remedy.
        """
        with needing("push", "bus.push"):
            from celeriac.push.handler import make_push
        function, given = make_push(self.service, name, url, **options)
        self.on(*patterns, name=name, **given)(function)

    def webhooks(
        self, *patterns: str, endpoints: FindEndpoints, name: str = "webhooks", **options: Any
    ) -> None:
        """Send each event to the endpoints of customers, each signed and retried on its own.

        Two handlers do it: `name` emits one event for each endpoint, `{name}_post` sends it.
        [Push](../push.md#webhooks) lists the options. Needs `celeriac[push]`.

        Args:
            *patterns: Event types, as of `on`.
            endpoints: Takes the event and returns a list of [Endpoint][celeriac.push.Endpoint]. A
                plain or a coroutine function, called for each event and for each attempt.
            name: Permanent name within the service, and the domain of the deliveries.
            **options: `structured`, `timeout`, `breaker`, `allow_private`, `gone`, `encrypt_for`,
                and options of `on`.

        Raises:
            ConfigurationError: An argument is wrong. Raised at import, with the remedy.
        """
        with needing("push", "bus.webhooks"):
            from celeriac.push.webhook import webhook_handlers
        for each in webhook_handlers(self.service, patterns, endpoints, name, **options):
            self.on(*each.patterns, **each.options)(each.function)

    def _add(self, handler: Handler) -> None:
        self.service.add(handler)
        if self._app is not None:
            from celeriac.worker import register

            register(self._app, handler, self._executor)

    def _inbox_keep_ms(self) -> int:
        """Return how long, in ms, an inbox keeps a row: while its event can be delivered again.

        Follows the settings of the bus. May block for a round trip.
        """
        shared = self.service.backend.bus.current
        return int(max(2 * shared.dedup_window, shared.retention) * 1000)

    def _require_service(self) -> str:
        if not self.settings.service:
            raise SubscriptionError(
                "the bus has no service, and can have neither handlers nor schedules. Write "
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
    hooks = EmitHooks(service.middleware) if service.middleware else None
    emitter = Emitter(service.settings, logs[0], hooks, service.guard.subject_keys)
    return emitter, AsyncEmitter(emitter, logs[1])


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
