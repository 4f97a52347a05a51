"""`celeriac dispatcher`"""

from __future__ import annotations

import logging
import os
import socket
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

import click
import redis

from celeriac.cli.foreground import log_to_stderr, stop_on_signals
from celeriac.registry import WorkerRecord
from celeriac.service import Service, worker_name
from celeriac.settings import VERSION

if TYPE_CHECKING:
    from celeriac.bus import EventBus
    from celeriac.dispatcher import Dispatcher

logger = logging.getLogger(__name__)


@click.command()
@click.option(
    "-A", "--app", "module", required=True, metavar="MODULE", help="Module of the EventBus."
)
@click.option(
    "--processes",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    show_default=True,
    help="Pool processes of all workers of the service; limits prefetch.",
)
def dispatcher(module: str, processes: int) -> None:
    """Run the dispatcher of a service without a worker.

    MODULE is `package.module` or `package.module:name`. Workers have their own dispatcher; run this
    command if they disable it. SIGTERM and SIGINT stop it. It then requeues deliveries that no
    worker has started.
    """
    log_to_stderr()
    bus = find_bus(module)
    instance = _make(bus, processes)
    if not instance.handlers and not bus.service.schedules:
        raise click.BadParameter(f"{bus!r} has no handlers and no schedules", param_hint="-A")
    stop_on_signals(instance.stop)
    logger.info("celeriac: dispatching for %s", ", ".join(h.id for h in instance.handlers))
    instance.run()
    try:
        instance.requeue()
    except redis.RedisError as error:
        logger.warning(
            "celeriac: could not requeue deliveries; they run when their leases expire (%s)", error
        )


def find_bus(where: str) -> EventBus:
    """Return the EventBus of a module: the named one, else `bus`, else the only one."""
    from celeriac.bus import EventBus

    if "" not in sys.path:
        sys.path.insert(0, "")
    path, _, name = where.partition(":")
    try:
        module = import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not path.startswith(error.name):
            raise
        raise click.BadParameter(
            f"module not found: {path}. Check the name and the working directory.", param_hint="-A"
        ) from None
    named: Any = getattr(module, name or "bus", None)
    if isinstance(named, EventBus):
        return named
    buses = {id(v): v for v in vars(module).values() if isinstance(v, EventBus)}
    if name or len(buses) != 1:
        reason = f"no EventBus {name}" if name else f"{len(buses)} EventBus objects and no `bus`"
        raise click.BadParameter(
            f"{path} has {reason}. Name a module that creates one, or MODULE:NAME.",
            param_hint="-A",
        )
    return next(iter(buses.values()))


def service_of(where: str) -> Service:
    """Return the service of the EventBus in a module, with its handlers."""
    bus = find_bus(where)
    bus.app.loader.import_default_modules()
    return bus.service


def _make(bus: EventBus, processes: int) -> Dispatcher:
    from celeriac.dispatcher import Dispatcher
    from celeriac.worker.celery_sender import delivery_sender

    app, service = bus.app, bus.service
    app.loader.import_default_modules()
    app.finalize()
    service.worker = worker_name(f"{service.settings.service}-dispatcher")
    return Dispatcher(
        service,
        delivery_sender(
            app, bus.service, watched=lambda: app.conf.worker_send_task_events is not False
        ),
        processes=processes,
        describe=lambda: WorkerRecord(
            name=service.worker,
            service=service.settings.service,
            hostname=socket.gethostname(),
            pid=os.getpid(),
            pool="dispatcher",
            processes=0,
            queues=(),
            version=VERSION,
        ),
    )
