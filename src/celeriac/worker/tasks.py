"""Handlers as Celery tasks: one task per handler, named `service.function`.

The message is a delivery task: the domain, and (log entry, event key) pairs. It contains no data,
and what it names runs only if it is claimed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from celery import Celery
from celery.exceptions import Retry as CeleryRetry

from celeriac.delivery import Outcome
from celeriac.errors import CeleriacError, Retry
from celeriac.executor import Executor, Report, describe, is_trace_cut, message_of
from celeriac.executor.abandoned_chunk import abandon_chunk
from celeriac.handler import Handler
from celeriac.worker.delivery_task import read_chunk, read_entries, read_pairs
from celeriac.worker.failure_events import show_failures


class HandlerFailed(CeleriacError):
    """A handler failed with an error that is too long for monitors, which store every task."""


class HandlerExited(CeleriacError):
    """A handler raised an exception that would also have ended the worker's process."""


def register(app: Celery, handler: Handler, executor: Executor) -> None:
    """Register the handler's task. Its options affect no other task of the app.

    Raises SubscriptionError if the app has a task of that name.
    """

    def deliver(
        self: Any,
        domain: str,
        events: str = "",
        chunk: str = "",
        watched: bool = False,
        **fetched: Any,
    ) -> str:
        if chunk:
            report = _run_chunk(executor, handler, domain, read_chunk(domain, chunk), **fetched)
        else:
            report = executor.execute(handler, domain, read_pairs(domain, events))
        _raise_sole(report)
        if report.failures and watched:
            show_failures(self, handler, report)
        return str(report)

    def abandon(named: Mapping[str, Any], error: BaseException, pid: int | None = None) -> int:
        domain = named["domain"]
        if "chunk" in named:
            chunk = read_chunk(domain, named["chunk"])
            return abandon_chunk(executor.process, handler, domain, chunk, error, pid)
        pairs = read_pairs(domain, named["events"])
        return executor.abandon(handler, domain, pairs, error, pid)

    def on_bound(cls: Any, app: Celery) -> None:
        """Keep the handler's options: settings and annotations of the app are not for handlers."""
        super(cls, cls).on_bound(app)
        for option, value in options.items():
            setattr(cls, option, value)
        # Not an option: as an attribute of a new class it is deprecated.
        cls.priority = None

    deliver.__name__ = handler.name
    deliver.__doc__ = handler.function.__doc__
    deliver.__module__ = handler.function.__module__
    options = _options(handler)
    app.task(
        deliver,
        name=handler.id,
        bind=True,
        shared=False,
        on_bound=classmethod(on_bound),
        abandon=staticmethod(abandon),
        **options,
    )


def _run_chunk(
    executor: Executor,
    handler: Handler,
    domain: str,
    chunk: str,
    more: int = 0,
    entries: Sequence[Sequence[Any]] | None = None,
) -> Report:
    given = None if entries is None else read_entries(entries)
    return executor.chunks.execute(handler, domain, chunk, given, more=more)


def _options(handler: Handler) -> dict[str, Any]:
    return {
        "typing": False,
        "Request": "celeriac.worker.request:DeliveryRequest",
        "Strategy": "celeriac.worker.request:guarded_strategy",
        "ignore_result": True,
        "store_errors_even_if_ignored": False,
        "track_started": False,
        # The delivery store decides what runs again; the task need not outlive its start.
        "acks_late": False,
        # The broker's redelivery would duplicate the recovery by lease expiry.
        "reject_on_worker_lost": False,
        "retry_on_worker_lost": False,
        "max_retries": None,
        "autoretry_for": (),
        # Expected: the executor logs a failure once, with a traceback if it is final.
        "throws": (Exception,),
        "serializer": "json",
        "compression": None,
        "rate_limit": None,
        "expires": None,
        # Not None: Celery 5.7 would use the app's limit, which may be below the handler's.
        "time_limit": handler.time_limit or 0,
        "soft_time_limit": handler.soft_time_limit or 0,
    }


def _raise_sole(report: Report) -> None:
    """Raise the failure of a task with one event, so that Flower shows the task as failed."""
    failure = report.sole_failure
    if failure is None:
        return
    if isinstance(failure.error, Retry) and failure.outcome is Outcome.RETRY:
        # Not the error itself, whose message may have any length.
        short = Retry(message_of(failure.error), after=failure.error.after)
        raise CeleryRetry(str(short), exc=short)
    if is_trace_cut(failure.traceback):
        failed = HandlerFailed(describe(failure.error))
        raise failed.with_traceback(failure.error.__traceback__) from None
    # sys.exit() in a handler must not end the worker too; neither may a MemoryError, at which
    # Celery ends the main process.
    if isinstance(failure.error, Exception) and not isinstance(failure.error, MemoryError):
        raise failure.error
    raise HandlerExited(describe(failure.error)) from failure.error
