"""A fault: how it is injected, how often, and what must come of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from devtools.faults.inboxed import SQLITE
from devtools.faults.testbed import Testbed

Inject = Callable[[Testbed], None]
REDIS, RABBITMQ = "redis", "rabbitmq"  # Celery's broker; the log is in Redis with either


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """`inject` starts what it needs on the testbed, publishes, injects the fault and ends it.

    `domains` are those that the workers subscribe to. `once` is a fault that is injected once,
    however long the run. `stock` is whether stock Celery suffers it too. `lease`, `bound` (the most
    time to drain) and `visibility` (stock Celery's timeout) are in seconds; `server` are options of
    the server. `exits` is whether a worker may end by itself; a service manager then starts
    another. `on` are the brokers with which the fault makes sense. `database` has the inbox and its
    effects: SQLITE, POSTGRESQL or MARIADB. `works` is the reason why the recovery time is no
    measure: only work remains.
    """

    name: str
    about: str
    inject: Inject
    quick: bool = False
    domains: tuple[str, ...] = ("work",)
    once: bool = False
    stock: bool = True
    lease: float = 3.0
    bound: float = 60.0
    visibility: float = 2.0
    server: tuple[str, ...] = ()
    exits: bool = False
    on: tuple[str, ...] = (REDIS,)
    database: str = SQLITE
    works: str = ""
