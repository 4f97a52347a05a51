"""Faults of processes with timers: their workers, their relay, their database.

Judged are the effects, each once for each instance, and the database: one instance for each key, no
timer that fires after it was forgotten, undo events in the reverse order.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

import msgspec
from sqlalchemy import make_url, text

from celeriac.process.rows import StepDetail
from devtools.faults.apps.flow import ABORTS, LATE, completes, effects_of
from devtools.faults.fault import Fault
from devtools.faults.flow import EventStream
from devtools.faults.inboxed import MARIADB, POSTGRESQL, SQLITE, InboxedEffects
from devtools.faults.proxy import Proxy
from devtools.faults.system import CeleriacSystem
from devtools.faults.testbed import MissedGoal, Testbed
from devtools.faults.worker import Worker

AWAY = 3.0  # seconds
ENDS_WITHIN = 60.0
_INSTANCES = "SELECT instance_key, status FROM celeriac_process"
_STEPS = "SELECT instance_key, detail FROM celeriac_process_step ORDER BY instance_key, seq"


def kill_worker(testbed: Testbed) -> None:
    """The worker relays, too. Another relay takes over with the next worker."""
    keys: list[str] = []
    worker = flow_worker(testbed)
    with stream(testbed, keys):
        for _ in range(testbed.times):
            testbed.busy()
            with testbed.fault_window(worker):
                worker.kill_group()
            worker = flow_worker(testbed)
            testbed.restored()
            testbed.busy()
            testbed.injected += testbed.kill_child(worker)
            testbed.restored()
    judge(testbed, keys)


def kill_relay(testbed: Testbed) -> None:
    """No relay runs until many timers have expired. The next ones are killed as they move them."""
    url, keys = effects(testbed).url, list[str]()
    testbed.worker()
    relay = testbed.relay(url)
    with stream(testbed, keys):
        for _ in range(testbed.times):
            testbed.busy()
            relay.kill_group()
            time.sleep(LATE + 0.5)
            for _ in range(2):
                relay = testbed.relay(url)
                time.sleep(random.uniform(0, 0.4))
                relay.kill_group()
                testbed.injected += 1
            relay = testbed.relay(url)
            testbed.restored()
    judge(testbed, keys)


def database_away(testbed: Testbed) -> None:
    keys: list[str] = []
    url = make_url(effects(testbed).url)
    assert url.port
    proxy = testbed.stack.enter_context(Proxy(url.port))
    testbed.effects_url = url.set(port=proxy.port).render_as_string(hide_password=False)
    flow_worker(testbed)
    with stream(testbed, keys):
        for _ in range(testbed.times):
            testbed.busy()
            # A commit whose reply is lost has happened, and its event runs again.
            with testbed.fault_window():
                proxy.cut()
                time.sleep(AWAY)
            proxy.restore()
            testbed.restored()
    judge(testbed, keys)


def flow_worker(testbed: Testbed) -> Worker:
    """Start a worker that relays its database."""
    url = testbed.effects_url or effects(testbed).url
    return testbed.worker(env={"CELERIAC_OUTBOX_URL": url})


def effects(testbed: Testbed) -> InboxedEffects:
    assert testbed.inboxed is not None
    return testbed.inboxed


def stream(testbed: Testbed, keys: list[str]) -> EventStream:
    """A stream of new instances. Their keys are added to `keys`."""
    system = testbed.system
    assert isinstance(system, CeleriacSystem)

    def publish(ids: Sequence[str]) -> int:
        system.bus.emit_many([system.bus.event("flow.begun", id=id, subject=id) for id in ids])
        deliveries = [delivery for id in ids for delivery in effects_of(id)]
        requested = [
            delivery for delivery in deliveries if delivery[1].startswith("effect.requested/")
        ]
        testbed.accepted_deliveries(requested)
        testbed.expected |= set(deliveries)
        keys.extend(ids)
        # The steps of the process run as well.
        return 2 * len(deliveries)

    return EventStream(publish, testbed.store.began_count, 60, loses=False)


def judge(testbed: Testbed, keys: Sequence[str]) -> None:
    """Wait for the end of all instances. Raises MissedGoal."""
    wanted = {delivery for key in keys for delivery in effects_of(key)}
    testbed.until(
        lambda: wanted <= testbed.effects().keys(),
        "the end of all instances", ENDS_WITHIN, fatal=False, pause=0.2,
    )  # fmt: skip
    with effects(testbed).engine.connect() as connection:
        instances = [(_text(key), status) for key, status in connection.execute(text(_INSTANCES))]
        steps = [(_text(key), detail) for key, detail in connection.execute(text(_STEPS))]
    problems = [
        *wrong_instances(instances, keys),
        *forgotten_but_fired(steps),
        *undone_in_the_wrong_order(_published(testbed)),
    ]
    if problems:
        raise MissedGoal("; ".join(problems[:3]))
    testbed.notes.append(f"{len(keys)} instances")


def wrong_instances(instances: Sequence[tuple[str, str]], keys: Sequence[str]) -> list[str]:
    """Return what is wrong with the (key, status) of all instances, with one for each key."""
    expected = {key: "completed" if completes(key) else "aborted" for key in keys}
    wrong = [f"{key} is {status}" for key, status in instances if expected.pop(key, "") != status]
    return wrong + [f"{key} has no instance" for key in expected]


def forgotten_but_fired(steps: Sequence[tuple[str, str]]) -> list[str]:
    """Return the timers that fired after they were forgotten.

    `steps` are (key, detail), in order.
    """
    forgotten: set[str] = set()
    problems: list[str] = []
    for key, text_ in steps:
        detail = msgspec.json.decode(text_, type=StepDetail)
        if key in forgotten and any(type == "effect.fired" for type, _ in detail.emitted):
            problems.append(f"{key}: a forgotten timer fired")
        if "forgotten" in detail.forgotten:
            forgotten.add(key)
    return problems


def undone_in_the_wrong_order(published: Sequence[tuple[str, str]]) -> list[str]:
    """Return the aborted instances whose events are not in order.

    `published` are types and keys in the order of the event log.
    """
    types: dict[str, list[str]] = {}
    for type, key in published:
        if type != "effect.fired":
            types.setdefault(key, []).append(type)
    return [
        f"{key}: {', '.join(emitted)}"
        for key, emitted in types.items()
        if not completes(key) and emitted != list(ABORTS)
    ]


def _published(testbed: Testbed) -> list[tuple[str, str]]:
    assert isinstance(testbed.system, CeleriacSystem)
    return [(event.type, str(event.subject)) for event in testbed.system.events("effect")]


def _text(value: str | bytes) -> str:
    # MariaDB stores keys as bytes.
    return value.decode() if isinstance(value, bytes) else value


def _fault(
    name: str, about: str, inject: Callable[[Testbed], None], database: str, works: str = ""
) -> Fault:
    return Fault(
        name=f"{name}, {database}",
        about=about,
        inject=inject,
        domains=("flow",),
        stock=False,
        database=database,
        works=works,
    )


FAULTS = (
    *(
        _fault(
            "processes: worker SIGKILL",
            "the group and a pool process in the middle of steps; the relay dies with it",
            kill_worker,
            database,
        )
        for database in (SQLITE, POSTGRESQL, MARIADB)
    ),
    *(
        _fault(
            "processes: relay SIGKILL",
            "with expired timers, and again while it moves them",
            kill_relay,
            database,
        )
        for database in (SQLITE, POSTGRESQL, MARIADB)
    ),
    *(
        _fault(
            "processes: database away",
            f"its connections are reset and refused for {AWAY:g} s",
            database_away,
            database,
            works="the handlers' retries have a backoff",
        )
        for database in (POSTGRESQL, MARIADB)
    ),
)
