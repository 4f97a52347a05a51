"""Run the dispatcher within `celery worker`: started and stopped with it, like beat with -B."""

from __future__ import annotations

import gc
import logging
import os
import socket
import threading
from collections.abc import Collection
from typing import Any

from celery import Celery, bootsteps, signals

from celeriac.contract.store import ContractChanged
from celeriac.dispatcher import Dispatcher
from celeriac.registry import WorkerRecord
from celeriac.service import Service, worker_name
from celeriac.settings import VERSION
from celeriac.store.redis.connection import address
from celeriac.store.redis.emitted import flush_emitted
from celeriac.tenant import tenant_marks
from celeriac.worker.add_step import add_step
from celeriac.worker.broadcasting import install_broadcasts, start_in_pool_process
from celeriac.worker.celery_fixes.broker_refusal import survive_refusals
from celeriac.worker.celery_fixes.old_master import OldMaster, install_old_master, is_followed
from celeriac.worker.celery_fixes.prefork_results import install_results_read
from celeriac.worker.celery_fixes.task_name import check_task, refuse_taken_names
from celeriac.worker.celery_sender import delivery_sender
from celeriac.worker.contracts import ContractDeclaration
from celeriac.worker.direct_delivery import DirectDelivery, DirectDeliveryStep
from celeriac.worker.fork_gate import fork_gate
from celeriac.worker.logs import install_logs
from celeriac.worker.queues import declared
from celeriac.worker.serializer import delivery_serializer
from celeriac.worker.task_events import sends_task_events
from celeriac.worker.unknown_tasks import requeue_unknown

logger = logging.getLogger(__name__)

# Celery's pools, and the limits that they ignore.
UNENFORCED = {
    "gevent": ("soft_time_limit",),
    "thread": ("time_limit", "soft_time_limit"),
    "solo": ("time_limit", "soft_time_limit"),
}


def install(app: Celery, service: Service, *, is_celeriac_app: bool = False) -> None:
    """Make every worker of the app consume the service's queues and dispatch its handlers.

    With `-Q`, a worker serves only the handlers whose queue it consumes. `is_celeriac_app`:
    celeriac created the app, so its logging may be configured.
    """

    def consume_queues(sender: str, instance: Any, **_: Any) -> None:
        if instance.app is not app:
            return
        # Before the pool forks: pool processes claim under the worker's name.
        service.worker = worker_name(sender)
        install_logs(service.settings, is_celeriac_app=is_celeriac_app)
        # Objects that a pool process was forked with are never garbage; scanning them takes as long
        # as a whole chunk.
        signals.worker_process_init.connect(lambda **_: gc.freeze(), weak=False)
        main = os.getpid()

        def start_in_child(**_: Any) -> None:
            # The solo pool sends its signal in the worker's own process.
            if os.getpid() != main:
                start_in_pool_process(service)

        signals.worker_process_init.connect(start_in_child, weak=False)
        # Pool processes end without Python's exit handlers.
        signals.worker_process_shutdown.connect(lambda **_: flush_emitted(), weak=False)
        for queue in sorted({handler.queue for handler in service.handlers.values()}):
            app.amqp.queues.select_add(declared(app, queue))

    # A weak reference would drop the closure immediately.
    signals.celeryd_init.connect(consume_queues, weak=False)
    requeue_unknown(service)
    refuse_taken_names(app)
    survive_refusals(app)
    install_broadcasts(app, service)
    _install_optional(app, service)
    install_results_read(app)
    follows = is_celeriac_app and is_followed(service.settings)
    old_master = OldMaster(service) if follows else None
    if old_master is not None:
        install_old_master(app, old_master)
    direct = DirectDelivery()
    add_step(
        app,
        "worker",
        DispatcherStep,
        service,
        "dispatcher",
        service=service,
        direct=direct,
        old_master=old_master,
    )
    add_step(app, "consumer", DirectDeliveryStep, service, "direct-delivery", direct=direct)


def _install_optional(app: Celery, service: Service) -> None:
    # Most workers need neither, and each of their processes has the memory of what is imported.
    if service.settings.outbox_url:
        from celeriac.worker.relaying import install_relay

        install_relay(app, service)
    if service.settings.metrics_port:
        from celeriac.worker.metrics import install_metrics

        install_metrics(app, service)


class DispatcherStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """One dispatcher thread, started after the pool and stopped first."""

    requires = ("celery.worker.components:Pool",)
    service: Service
    direct: DirectDelivery
    old_master: OldMaster | None = None

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._dispatcher: Dispatcher | None = None
        self._thread: threading.Thread | None = None
        self._contracts = ContractDeclaration(self.service)

    def include_if(self, parent: Any) -> bool:
        for handler in self.service.handlers.values():
            check_task(parent.app, handler)
        delivery_serializer(parent.app)
        # With broadcasts only, its heartbeats are what registers them.
        service = self.service
        if service.handlers or service.schedules or service.broadcasts:
            return True
        if service.settings.service:
            logger.info(
                "celeriac: %s has no handlers in this worker. If it has some, name their modules "
                "in app.conf.imports",
                service.settings.service,
            )
        return False

    def start(self, parent: Any) -> None:
        app = parent.app
        try:
            # After the pool has forked: the connection belongs to this process only.
            self._contracts.declare()
        except ContractChanged as error:
            logger.critical("celeriac: the worker does not start: %s", error)
            raise SystemExit(1) from None
        log_start(self.service, app.amqp.queues.consume_from)
        warn_of_unenforced_limits(self.service, _pool_name(parent), app.amqp.queues.consume_from)
        self._dispatcher = Dispatcher(
            self.service,
            delivery_sender(
                app,
                self.service,
                watched=lambda: sends_task_events(_event_dispatcher(parent)),
                direct=self.direct,
                old_master=self.old_master,
            ),
            processes=_processes(parent),
            queues=lambda: app.amqp.queues.consume_from,
            is_free=lambda queue: self.direct.is_free(app, queue),
            pool_capacity=lambda queue: self.direct.capacity(app, queue),
            describe=lambda: describe(self.service, parent, self._contracts),
            gate=fork_gate(),
        )
        self._thread = threading.Thread(
            target=self._dispatcher.run, name="celeriac-dispatcher", daemon=True
        )
        self._thread.start()

    def stop(self, parent: Any) -> None:
        if self._dispatcher is None or self._thread is None:
            return
        self._dispatcher.stop()
        self._thread.join(timeout=5)
        try:
            self._dispatcher.requeue()
        except Exception as error:
            logger.warning(
                "celeriac: queued deliveries were not requeued (%s); lease expiry recovers them",
                error,
            )
        self._dispatcher = self._thread = None

    def terminate(self, parent: Any) -> None:
        self.stop(parent)


def _event_dispatcher(worker: Any) -> Any:
    """Return the worker's event dispatcher; None until the consumer has connected."""
    return getattr(getattr(worker, "consumer", None), "event_dispatcher", None)


def _processes(worker: Any) -> int:
    pool = worker.pool
    return int(getattr(pool, "num_processes", None) or worker.concurrency or 1)


def _pool_name(worker: Any) -> str:
    """Return the module of the worker's pool: prefork, thread, gevent, solo."""
    return type(worker.pool).__module__.rpartition(".")[2]


def log_start(service: Service, queues: Collection[str]) -> None:
    """Log one INFO line: the Redis server, what runs here, and what does not."""
    handlers = sorted(service.handlers.values(), key=lambda handler: handler.id)
    runs = [
        f"{h.id} ({', '.join(h.patterns)}) from queue {h.queue}"
        for h in handlers
        if h.queue in queues
    ]
    # The dispatcher reports handlers that no worker runs.
    others = [f"{h.id} (queue {h.queue})" for h in handlers if h.queue not in queues]
    logger.info(
        "celeriac: %s on %s runs %s%s",
        service.settings.service,
        address(service.settings.redis_url),
        "; ".join(runs) or "no handler",
        f"; left to other workers: {'; '.join(others)}" if others else "",
    )


def warn_of_unenforced_limits(service: Service, pool: str, queues: Collection[str]) -> None:
    """Log a WARNING for each handler here with a time limit that Celery ignores in this pool."""
    for handler in service.handlers.values():
        ignored = [name for name in UNENFORCED.get(pool, ()) if getattr(handler, name)]
        if ignored and handler.queue in queues:
            logger.warning(
                "celeriac: %s of %s has no effect: Celery does not enforce it in the pool %s. Run "
                "the handler in a worker with --pool prefork",
                " and ".join(ignored),
                handler.id,
                pool,
            )


def describe(
    service: Service, worker: Any, contracts: ContractDeclaration | None = None
) -> WorkerRecord:
    """Return the worker's current record: remote control may change its queues."""
    queues = tuple(worker.app.amqp.queues.consume_from)
    handlers = service.handlers.values()
    if contracts is not None:
        contracts.repeat()
    return WorkerRecord(
        name=service.worker,
        service=service.settings.service,
        hostname=socket.gethostname(),
        pid=os.getpid(),
        pool=_pool_name(worker),
        processes=_processes(worker),
        queues=queues,
        handlers=tuple(sorted(h.id for h in handlers if h.queue in queues)),
        patterns={h.id: tuple(h.patterns) for h in handlers if h.queue in queues},
        tenants={h.id: tenant_marks(h.tenants) for h in handlers if h.tenants},
        reads={} if contracts is None else dict(contracts.reads),
        unserved={h.id: h.queue for h in handlers if h.queue not in queues},
        broadcasts=service.broadcast_records(),
        version=VERSION,
    )
