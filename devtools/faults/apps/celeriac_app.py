"""The service on celeriac: `celery -A devtools.faults.apps.celeriac_app worker`."""

from __future__ import annotations

import faulthandler
import os
import signal
from collections.abc import Callable
from typing import Any

import msgspec
from sqlalchemy import Connection

from celeriac import Event, EventBus
from celeriac.inbox import create_inbox
from devtools.faults.apps import flow, handlers
from devtools.faults.inboxed import open_engine

bus = EventBus(service=handlers.SERVICE)
app = bus.app
# Pool processes inherit it: Worker.stop asks one that hangs for what it is at.
faulthandler.register(signal.SIGUSR2)
if "FAULTS_SOFT" in os.environ:
    app.conf.worker_soft_shutdown_timeout = float(os.environ["FAULTS_SOFT"])


effects = open_engine(os.environ["FAULTS_EFFECTS"])
# As docs/how-to/inbox.md has it: the pool holds a connection when the pool processes are forked.
create_inbox(effects)


class Payload(msgspec.Struct):
    n: int


def _handler(name: str) -> Callable[[Event[Any]], None]:
    def handler(event: Event[Any]) -> None:
        handlers.do(name, event.id, event.data)

    handler.__name__ = handler.__qualname__ = name
    return handler


def typed(event: Event[Payload]) -> None:
    handlers.do("typed", event.id)


def second(event: Event[Any], connection: Connection) -> None:
    handlers.do_inboxed("second", event.id, connection)


GIVEN: dict[str, Callable[..., None]] = {"typed": typed, "second": second}


def _subscribe(name: str, *patterns: str) -> None:
    function = GIVEN.get(name) or _handler(name)
    bus.on(
        *patterns,
        name=name,
        retries=handlers.RETRIES.get(name, 1 if name in handlers.HARM else 5),
        backoff=0.1,
        time_limit=handlers.TIME_LIMITS.get(name),
        inbox=effects if name in handlers.INBOXED else None,
    )(function)


if "flow" in handlers.domains():
    flow.subscribe(bus, effects)
elif handlers.wide():
    for n in range(handlers.wide()):
        _subscribe(f"wide_{n}", handlers.wide_type(n))
else:
    for domain in handlers.domains():
        for name in handlers.SUBSCRIBED[domain]:
            _subscribe(name, *handlers.patterns(name, domain))
