"""What the handlers do, by name: most of them their work, some of them harm.

The first segment of an event's type selects the handlers.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from devtools.faults.inboxed import write_effect
from devtools.faults.store import Store

SERVICE = "billing"
WORK = 0.002  # seconds
SUBSCRIBED: dict[str, tuple[str, ...]] = {
    "work": ("first", "second"),
    "fan": ("fan_a", "fan_b", "fan_c", "fan_d"),
    "slow": ("slow",),
    "typed": ("typed",),
    "raise": ("raises",),
    "hang": ("hangs",),
    "exit": ("exits",),
    "segfault": ("segfaults",),
    "memory": ("exhausts",),
    "new": ("newcomer",),
    "kind": ("picky",),
    "grown": ("grows",),
    "more": ("grows",),
    "churn": ("churns",),
    "flow": (),  # the process of apps/flow.py
}
# What a handler subscribes to where that is not all of its domain, by the version of its code.
PATTERNS = {"grows": {"1": ("grown.one",), "2": ("grown.#", "more.#")}}
TIME_LIMITS = {"hangs": 1.0}
# The data of an event at which `picky` crashes, and of one at which its whole worker dies.
POISON, FATAL = "poison", "fatal"
# The data of an event at which any handler fails each time, and of one at which it fails once.
FAILS, FAILS_ONCE = "fails", "fails once"
RETRIES = {"picky": 0, "churns": 2}
INBOXED = ("second",)  # on celeriac; stock Celery has no inbox, and guards its effects
MEMORY = 256 * 1024 * 1024

_stores: dict[int, Store] = {}


def store() -> Store:
    """This process's own: a connection to SQLite must not be carried over a fork."""
    if os.getpid() not in _stores:
        _stores[os.getpid()] = Store(os.environ["FAULTS_STORE"])
    return _stores[os.getpid()]


def domains() -> list[str]:
    """Those that this worker subscribes to."""
    return os.environ["FAULTS_DOMAINS"].split(",")


def patterns(name: str, domain: str) -> tuple[str, ...]:
    """What the handler subscribes to in the version of the code that this worker has."""
    return PATTERNS.get(name, {}).get(os.environ.get("FAULTS_VERSION", "1"), (f"{domain}.#",))


def wide() -> int:
    """With how many handlers for as many types, instead of the ones above."""
    return int(os.environ.get("FAULTS_WIDE", "0"))


def wide_type(n: int) -> str:
    return f"wide{n % 10}.type{n}"


def do(name: str, event_id: str, data: Any = None) -> None:
    """Runs a handler on an event, and leaves its traces in the store."""
    handler = f"{SERVICE}.{name}"
    if data == FAILS or (data == FAILS_ONCE and store().fails_first(handler, event_id)):
        raise ValueError(data)
    run = store().began(handler, event_id)
    poison = DEADLY.get(data) if isinstance(data, str) else None
    (poison or DOES.get(name, work))()
    store().effect(handler, event_id)
    store().ended(run)


def do_inboxed(name: str, event_id: str, connection: Connection) -> None:
    """As `do`, with an effect that has no guard of its own: the inbox is its transaction."""
    run = store().began(f"{SERVICE}.{name}", event_id)
    work()
    write_effect(connection, f"{SERVICE}.{name}", event_id)
    store().ended(run)


def work() -> None:
    time.sleep(WORK)


def churns() -> None:
    """Write only the traces, so that chunks have many events."""


def slow() -> None:
    time.sleep(0.05)


def raises() -> None:
    raise ValueError("never works")


def hangs() -> None:
    time.sleep(60)


def exits() -> None:
    sys.exit(3)


def segfaults() -> None:
    ctypes.string_at(0)


def ends_worker() -> None:
    """As the kernel does with a container that has no memory left: no process of it lives on."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(60)  # Celery's pool processes die with their parent


def exhausts() -> None:
    """Takes memory up to a limit that is set for this process, and then some."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    try:
        memory: list[Any] = []
        while True:
            memory.append(bytearray(16 * 1024 * 1024))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


DEADLY: dict[str, Callable[[], None]] = {POISON: segfaults, FATAL: ends_worker}
HARM: dict[str, Callable[[], None]] = {
    "slow": slow,
    "raises": raises,
    "hangs": hangs,
    "exits": exits,
    "segfaults": segfaults,
    "exhausts": exhausts,
}
DOES = HARM | {"churns": churns}
