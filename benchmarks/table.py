"""What is measured, between whom, and what is aimed at."""

from __future__ import annotations

from benchmarks import emit, idle, latency, memory, process, startup
from benchmarks.measurement import Contestant as C
from benchmarks.measurement import Goal, Measurement

THREE = ("billing", "shipping", "audit")


def subscribers(count: int) -> dict[str, str]:
    return {"BENCH_HANDLERS": str(count)}


def many(domains: int) -> dict[str, str]:
    return {"BENCH_HANDLERS": "1000", "BENCH_TYPES": "1000", "BENCH_DOMAINS": str(domains)}


EMIT = Measurement(
    name="emit",
    title="Emit, one at a time",
    open=emit.emitted,
    contestants=(
        C(name="raw XADD", peer="raw"),
        C(name="celeriac", peer="celeriac"),
        C(name="celeriac to 1", peer="celeriac", options=subscribers(1)),
        C(name="celeriac to 3", peer="celeriac", options=subscribers(3), quick=False),
        C(name="celeriac to 30", peer="celeriac", options=subscribers(30)),
        C(name="celeriac async", peer="celeriac", act="async_one"),
        C(name="FastStream stream", peer="faststream"),
        C(name="huey", peer="huey", quick=False),
        C(name="dramatiq", peer="dramatiq", quick=False),
        C(name="taskiq", peer="taskiq", quick=False),
        C(name="Celery .delay", peer="celery"),
        C(name="Celery topic exchange", peer="celery_topic", quick=False),
    ),
    goals=(
        Goal(text="emit, of raw XADD", unit="events/s", of="celeriac", to="raw XADD", at_least=0.9),
        Goal(
            text="emit, over Celery .delay",
            unit="events/s",
            of="celeriac",
            to="Celery .delay",
            at_least=4,
        ),
        Goal(
            text="emit, to 30 subscribers over to 1",
            unit="events/s",
            of="celeriac to 30",
            to="celeriac to 1",
            at_least=0.97,
        ),
    ),
)

BULK = Measurement(
    name="bulk",
    title="Emit in bulk",
    open=emit.emitted,
    contestants=(
        C(name="raw, pipeline of 500", peer="raw", act="bulk"),
        C(
            name="raw, pipeline of 100",
            peer="raw",
            act="bulk",
            options={"BENCH_PIPELINE": "100"},
        ),
        C(name="celeriac emit_many", peer="celeriac", act="bulk"),
        C(name="celeriac aemit_many", peer="celeriac", act="async_bulk", quick=False),
        C(name="FastStream list, batch of 100", peer="faststream", act="bulk"),
        C(name="Celery, 100 in one message", peer="celery", act="bulk", quick=False),
    ),
    goals=(
        Goal(
            text="emit in bulk, of raw pipelines",
            unit="events/s",
            of="celeriac emit_many",
            to="raw, pipeline of 500",
            at_least=0.8,
        ),
        Goal(
            text="emit in bulk, over FastStream's list batch",
            unit="events/s",
            of="celeriac emit_many",
            to="FastStream list, batch of 100",
            at_least=1,
        ),
    ),
)

PROCESS = Measurement(
    name="process",
    title="Processed, trivial handler, two pool processes",
    open=process.drained,
    contestants=(
        C(name="celeriac", peer="celeriac"),
        C(name="celeriac, batch=500", peer="celeriac", options={"BENCH_BATCH": "500"}),
        C(name="Celery, late ack", peer="celery"),
        C(name="FastStream batch handler", peer="faststream", options={"BENCH_BATCH": "100"}),
        C(name="FastStream stream", peer="faststream", quick=False),
        C(name="dramatiq", peer="dramatiq", quick=False),
        C(name="taskiq", peer="taskiq", quick=False),
        C(name="huey", peer="huey", quick=False),
        C(
            name="Celery, late ack, task events",
            peer="celery",
            options={"BENCH_TASK_EVENTS": "1"},
            quick=False,
        ),
        C(name="celeriac, 1 process", peer="celeriac", processes=1, quick=False),
        C(
            name="celeriac, 3 handlers",
            peer="celeriac",
            options=subscribers(3),
            fanout=3,
            quick=False,
        ),
        C(
            name="celeriac, 10 handlers",
            peer="celeriac",
            options=subscribers(10),
            fanout=10,
            quick=False,
        ),
    ),
    goals=(
        Goal(
            text="processed, over Celery prefork with late ack",
            unit="deliveries/s",
            of="celeriac",
            to="Celery, late ack",
            at_least=40,
        ),
        Goal(
            text="processed, over FastStream's batch handler",
            unit="deliveries/s",
            of="celeriac",
            to="FastStream batch handler",
            at_least=1.2,
        ),
        Goal(
            text="processed with batch=, over FastStream's batch handler",
            unit="deliveries/s",
            of="celeriac, batch=500",
            to="FastStream batch handler",
            at_least=2,
        ),
    ),
)

POOLS = Measurement(
    name="pools",
    title="Processed, by pool",
    open=process.drained,
    contestants=(
        C(name="prefork, 2", peer="celeriac", quick=False),
        C(name="threads, 2", peer="celeriac", pool="threads", quick=False),
        C(name="solo", peer="celeriac", pool="solo", processes=1, quick=False),
        C(name="gevent, 20", peer="celeriac", pool="gevent", processes=20, quick=False),
    ),
)

SERVICES = Measurement(
    name="services",
    title="Deliveries to three services, a worker with one process each",
    open=process.drained,
    contestants=(
        C(name="celeriac", peer="celeriac", services=THREE, processes=1, fanout=3),
        C(name="Celery topic exchange", peer="celery_topic", services=THREE, processes=1, fanout=3),
        C(name="FastStream groups", peer="faststream", services=THREE, processes=1, fanout=3),
    ),
    goals=(
        Goal(
            text="deliveries to three services, over Celery topic exchange",
            unit="deliveries/s",
            of="celeriac",
            to="Celery topic exchange",
            at_least=10,
        ),
        Goal(
            text="deliveries to three services, over FastStream",
            unit="deliveries/s",
            of="celeriac",
            to="FastStream groups",
            at_least=3,
        ),
    ),
)

WORK = {"BENCH_WORK": "0.005"}
SLOW = Measurement(
    name="slow",
    title="Handlers of 5 ms, two processes",
    open=process.against_perfect,
    contestants=(
        C(name="perfect", peer="nobody", options=WORK),
        C(name="celeriac", peer="celeriac", options=WORK),
        C(name="Celery, late ack", peer="celery", options=WORK, quick=False),
    ),
    goals=(
        Goal(
            text="5 ms handlers, of perfect",
            unit="deliveries/s",
            of="celeriac",
            to="perfect",
            at_least=0.95,
        ),
    ),
)

LATENCY = Measurement(
    name="latency",
    title="Latency at 100 events/s",
    open=latency.measured,
    contestants=(
        C(name="celeriac", peer="celeriac"),
        C(name="Celery, late ack", peer="celery"),
        C(
            name="Celery, late ack, task events",
            peer="celery",
            options={"BENCH_TASK_EVENTS": "1"},
            quick=False,
        ),
        C(name="FastStream stream", peer="faststream", quick=False),
        C(name="dramatiq", peer="dramatiq", quick=False),
        C(name="taskiq", peer="taskiq", quick=False),
    ),
    goals=tuple(
        Goal(
            text=f"latency {unit.split()[0]}, of Celery prefork",
            unit=unit,
            of="celeriac",
            to="Celery, late ack",
            at_most=0.8,
        )
        for unit in ("p50 ms", "p99 ms")
    ),
)

BACKLOG = Measurement(
    name="backlog",
    title="Redis memory of a backlogged event",
    open=memory.backlogged,
    contestants=(
        C(name="raw stream", peer="raw", act="bulk"),
        C(name="celeriac to 1", peer="celeriac", act="bulk", options=subscribers(1)),
        C(name="celeriac to 10", peer="celeriac", act="bulk", options=subscribers(10)),
        C(name="FastStream stream", peer="faststream", act="fill"),
        C(name="taskiq stream", peer="taskiq", act="fill", quick=False),
        C(name="dramatiq", peer="dramatiq", act="fill", quick=False),
        C(name="Celery .delay × 1", peer="celery", act="fill"),
    ),
    goals=tuple(
        Goal(
            text=f"backlog of {n} subscriber{'s' * (n > 1)}, of a raw stream",
            unit="bytes/event",
            of=f"celeriac to {n}",
            to="raw stream",
            at_most=1.15,
        )
        for n in (1, 10)
    ),
    rounds=2,
)

MATRIX = Measurement(
    name="matrix",
    title="Redis memory of a processed event",
    open=memory.remembered,
    contestants=(
        C(name="celeriac", peer="celeriac"),
        C(name="celeriac, 3 handlers", peer="celeriac", options=subscribers(3), fanout=3),
    ),
    goals=(
        Goal(
            text="matrix, bytes per delivery",
            unit="bytes/delivery",
            of="celeriac",
            at_most=150,
        ),
    ),
    rounds=2,
)

IDLE = Measurement(
    name="idle",
    title="Idle worker, two processes",
    open=idle.rested,
    contestants=(
        C(name="celeriac", peer="celeriac"),
        C(name="Celery, late ack", peer="celery"),
        C(name="FastStream stream", peer="faststream", quick=False),
        C(name="dramatiq", peer="dramatiq", quick=False),
    ),
    goals=(
        Goal(
            text="idle worker's memory, of Celery's",
            unit="MiB",
            of="celeriac",
            to="Celery, late ack",
            at_most=1.1,
        ),
        Goal(text="idle worker, % of a core", unit="% CPU", of="celeriac", at_most=0.5),
    ),
    rounds=2,
)

STARTUP = Measurement(
    name="start",
    title="Start of the worker until its first event is handled",
    open=startup.first_event,
    contestants=(
        C(name="celeriac", peer="celeriac"),
        C(name="Celery, late ack", peer="celery"),
    ),
    rounds=3,
)

COMMAND = Measurement(
    name="command",
    title="Start of the command line (--help)",
    open=startup.helped,
    contestants=(
        C(name="celeriac", peer="celeriac"),
        C(name="celery", peer="celery"),
        C(name="python", peer="python"),
    ),
)

SPREAD = (
    C(name="1 handler, 1 type", peer="celeriac", options=subscribers(1)),
    C(name="1,000 of each in 100 domains", peer="celeriac", options=many(100)),
    C(name="1,000 of each in 1 domain", peer="celeriac", options=many(1)),
)


def within(text: str, unit: str, *, at_least: float | None = None, at_most: float | None = None) -> tuple[Goal, ...]:
    return tuple(
        Goal(
            text=f"{text}, {c.name}, of 1",
            unit=unit,
            of=c.name,
            to=SPREAD[0].name,
            at_least=at_least,
            at_most=at_most,
        )
        for c in SPREAD[1:]
    )


MANY_EMIT = Measurement(
    name="many-emit",
    title="Emit with 1,000 handlers and types",
    open=emit.emitted,
    contestants=SPREAD,
    goals=within("emit", "events/s", at_least=0.83),
)

MANY_LATENCY = Measurement(
    name="many-latency",
    title="Latency at 100 events/s with 1,000 handlers and types",
    open=latency.measured,
    contestants=SPREAD,
    goals=within("latency p50", "p50 ms", at_most=1.2),
    rounds=2,
)
