"""The service on celeriac: `celery -A devtools.faults.apps.ours worker`."""

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
from devtools.faults.apps import doing
from devtools.faults.inboxed import open_engine

bus = EventBus(service=doing.SERVICE)
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
        doing.do(name, event.id, event.data)

    handler.__name__ = handler.__qualname__ = name
    return handler


def typed(event: Event[Payload]) -> None:
    doing.do("typed", event.id)


def second(event: Event[Any], connection: Connection) -> None:
    doing.do_inboxed("second", event.id, connection)


GIVEN: dict[str, Callable[..., None]] = {"typed": typed, "second": second}


def _subscribe(name: str, *patterns: str) -> None:
    function = GIVEN.get(name) or _handler(name)
    bus.on(
        *patterns,
        name=name,
        retries=doing.RETRIES.get(name, 1 if name in doing.HARM else 5),
        backoff=0.1,
        time_limit=doing.TIME_LIMITS.get(name),
        inbox=effects if name in doing.INBOXED else None,
    )(function)


if doing.wide():
    for n in range(doing.wide()):
        _subscribe(f"wide_{n}", doing.wide_type(n))
else:
    for domain in doing.domains():
        for name in doing.SUBSCRIBED[domain]:
            _subscribe(name, *doing.patterns(name, domain))
