"""The table: what is measured, between which candidates, and the goals."""

from __future__ import annotations

from dataclasses import replace

from benchmarks import archive, emit, gateway, idle, latency, lookup, memory, process, startup
from benchmarks.measurement import Candidate as C
from benchmarks.measurement import Goal, Measurement

THREE = ("billing", "shipping", "audit")
WORK = {"BENCH_WORK": "0.005"}
EVENTS = {"BENCH_TASK_EVENTS": "1"}
SIGNED = {"BENCH_SIGNED": "1"}
TRACED = {"CELERIAC_TRACING": "on"}
CONTRACT = {"BENCH_CONTRACT": "1"}
CONTRACT_2 = {"BENCH_CONTRACT": "2"}


def batch(size: int) -> dict[str, str]:
    return {"BENCH_BATCH": str(size)}


def subscribers(count: int) -> dict[str, str]:
    return {"BENCH_HANDLERS": str(count)}


def spread(count: int, domains: int) -> dict[str, str]:
    """So many handlers with a type each, evenly in the domains."""
    return {
        "BENCH_HANDLERS": str(count),
        "BENCH_TYPES": str(count),
        "BENCH_DOMAINS": str(domains),
    }


# fmt: off
SINGLE = C("1 handler and type", "celeriac", options=subscribers(1))
MANY = C("1,000 in 100 domains", "celeriac", options=spread(1000, 100))
SHARED = C("1,000 in one domain", "celeriac", options=spread(1000, 1))

TABLE = (
    Measurement(
        "emit", "Emit, one at a time", "events/s", emit.emitted,
        candidates=(
            C("raw XADD", "raw"),
            C("celeriac", "celeriac"),
            C("celeriac, AOF", "celeriac", durable=True),
            C("celeriac to 1", "celeriac", options=subscribers(1)),
            C("celeriac to 3", "celeriac", options=subscribers(3), quick=False),
            C("celeriac to 30", "celeriac", options=subscribers(30)),
            C("celeriac, async", "celeriac", mode="async_one"),
            C("celeriac, signed", "celeriac", options=SIGNED, quick=False),
            C("FastStream stream", "faststream"),
            C("huey", "huey", quick=False),
            C("dramatiq", "dramatiq", quick=False),
            C("taskiq stream", "taskiq", quick=False),
            C("Celery .delay", "celery"),
            C("Celery topic exchange", "celery_topic", quick=False),
        ),
        goals=(
            Goal("emit : raw XADD", "celeriac", "raw XADD", minimum=0.9),
            Goal("emit : Celery .delay", "celeriac", "Celery .delay", minimum=4,
                 headline="Emit one event at a time, against Celery’s `.delay`"),
            Goal("emit to 30 : to 1", "celeriac to 30", "celeriac to 1", minimum=0.97),
            Goal("aemit : emit", "celeriac, async", "celeriac", minimum=0.75),
            Goal("emit, AOF every second : none", "celeriac, AOF", "celeriac", minimum=0.8),
        ),
    ),
    Measurement(
        "bulk", "Emit in bulk", "events/s", emit.emitted,
        candidates=(
            C("raw, pipeline of 500", "raw", mode="bulk"),
            C("raw, pipeline of 100", "raw", mode="bulk", options={"BENCH_PIPELINE": "100"}),
            C("celeriac emit_many", "celeriac", mode="bulk"),
            C("celeriac aemit_many", "celeriac", mode="async_bulk"),
            C("celeriac emit_many, signed", "celeriac", mode="bulk", options=SIGNED),
            C("celeriac emit_many, AOF", "celeriac", mode="bulk", durable=True),
            C("FastStream list, 100", "faststream", mode="bulk"),
            C("celeriac to 30, emit_many", "celeriac", mode="bulk", options=subscribers(30),
              quick=False),
            C("Celery, 100 in a message", "celery", mode="bulk", quick=False),
        ),
        goals=(
            Goal("emit_many : raw pipeline", "celeriac emit_many", "raw, pipeline of 500",
                 minimum=0.8),
            Goal("emit_many : FastStream list batch", "celeriac emit_many", "FastStream list, 100",
                 minimum=1),
            Goal("aemit_many : emit_many", "celeriac aemit_many", "celeriac emit_many",
                 minimum=0.9),
            Goal("signed in bulk : unsigned", "celeriac emit_many, signed", "celeriac emit_many",
                 minimum=0.5),
            Goal("emit_many, AOF every second : none", "celeriac emit_many, AOF",
                 "celeriac emit_many", minimum=0.8),
        ),
    ),
    Measurement(
        "gateway", "Received over HTTP, one process", "events/s", gateway.received,
        candidates=(
            C("Starlette, one XADD", "http_raw"),
            C("celeriac gateway", "http_celeriac"),
        ),
        goals=(
            Goal("gateway : Starlette, one XADD", "celeriac gateway", "Starlette, one XADD",
                 minimum=0.8),
        ),
    ),
    Measurement(
        "process", "Processed, trivial handler, two pool processes", "runs/s", process.drained,
        candidates=(
            C("celeriac", "celeriac"),
            C("celeriac, batch=500", "celeriac", options=batch(500)),
            C("celeriac, AOF", "celeriac", durable=True),
            C("Celery, late ack", "celery"),
            C("FastStream batch", "faststream", options=batch(500)),
            C("FastStream batch of 100", "faststream", options=batch(100), quick=False),
            C("FastStream batch, 1 process", "faststream", processes=1, options=batch(500),
              quick=False),
            C("FastStream stream", "faststream", quick=False),
            C("dramatiq", "dramatiq", quick=False),
            C("taskiq stream", "taskiq", quick=False),
            C("huey", "huey", quick=False),
            C("Celery, late ack, -E", "celery", options=EVENTS, quick=False),
            C("celeriac, 1 process", "celeriac", processes=1, quick=False),
            C("celeriac, 3 handlers", "celeriac", options=subscribers(3), fanout=3, quick=False),
            C("celeriac, 10 handlers", "celeriac", options=subscribers(10), fanout=10, quick=False),
        ),
        goals=(
            Goal("processed : Celery prefork, late ack", "celeriac", "Celery, late ack",
                 minimum=100, headline="Processed, against Celery prefork with late "
                 "acknowledgement"),
            Goal("processed : FastStream batch handler", "celeriac", "FastStream batch",
                 minimum=2, headline="Processed one by one, against FastStream’s handler of whole "
                 "batches"),
            Goal("processed, batch= : FastStream batch handler", "celeriac, batch=500",
                 "FastStream batch", minimum=3),
            Goal("processed, AOF every second : none", "celeriac, AOF", "celeriac", minimum=0.8),
            Goal("server µs for each delivery", "celeriac", maximum=1, unit="server µs/run"),
            Goal("worker µs for each delivery", "celeriac", maximum=8, unit="workers µs/run"),
        ),
    ),
    Measurement(
        "pools", "Processed, by pool", "runs/s", process.drained,
        candidates=(
            C("prefork, 2", "celeriac", quick=False),
            C("threads, 2", "celeriac", pool="threads", quick=False),
            C("solo", "celeriac", pool="solo", processes=1, quick=False),
            C("gevent, 20", "celeriac", pool="gevent", processes=20, quick=False),
        ),
        rounds=3,
    ),
    Measurement(
        "pools-slow", "Handlers of 5 ms, by pool", "runs/s", process.against_perfect,
        candidates=(
            C("perfect, 2", "nobody", options=WORK, quick=False),
            C("prefork, 2", "celeriac", options=WORK, quick=False),
            C("threads, 2", "celeriac", pool="threads", options=WORK, quick=False),
            C("perfect, 1", "nobody", processes=1, options=WORK, quick=False),
            C("solo", "celeriac", pool="solo", processes=1, options=WORK, quick=False),
            C("perfect, 20", "nobody", processes=20, options=WORK, quick=False),
            C("gevent, 20", "celeriac", pool="gevent", processes=20, options=WORK, quick=False),
        ),
        rounds=2,
    ),
    Measurement(
        "costs", "Cost of features: processing", "runs/s", process.drained,
        candidates=(
            C("celeriac", "celeriac", quick=False),
            C("without the matrix", "celeriac", options={"BENCH_NO_MATRIX": "1"}, quick=False),
            C("task events, -E", "celeriac", options=EVENTS, quick=False),
            C("watched as by Flower", "celeriac", options={"BENCH_WATCHED": "1"}, quick=False),
            C("signed and checked", "celeriac", options=SIGNED, quick=False),
            C("traced, without an SDK", "celeriac", options=TRACED, quick=False),
        ),
        rounds=3,
        beside="celeriac",
    ),
    Measurement(
        "costs-emit", "Cost of features: emit", "events/s", emit.emitted,
        candidates=(
            C("celeriac", "celeriac", quick=False),
            C("signed", "celeriac", options=SIGNED, quick=False),
            C("traced, without an SDK", "celeriac", options=TRACED, quick=False),
        ),
        rounds=3,
        beside="celeriac",
    ),
    Measurement(
        "contracts-emit", "Cost of contracts: emit", "events/s", emit.emitted_anew,
        candidates=(
            C("a model", "celeriac_typed"),
            C("a contract", "celeriac_typed", options=CONTRACT),
            C("version 2 of a contract", "celeriac_typed", options=CONTRACT_2),
        ),
        goals=(Goal("emit, a contract : a model", "a contract", "a model", minimum=0.98),),
        rounds=12,
    ),
    Measurement(
        "contracts", "Cost of contracts: processing", "runs/s", process.drained,
        candidates=(
            C("a model", "celeriac_typed"),
            C("a model and a dataschema", "celeriac_typed", options={"BENCH_DATASCHEMA": "1"}),
            C("a contract", "celeriac_typed", options=CONTRACT),
            C("version 2 of a contract", "celeriac_typed", options=CONTRACT_2),
        ),
        goals=(
            Goal("processed, a contract : a model", "a contract", "a model", minimum=0.98),
            Goal("processed, version 2 : the same events", "version 2 of a contract",
                 "a model and a dataschema", minimum=0.98),
        ),
        rounds=12,
    ),
    Measurement(
        "services", "Processed by three services with one process each", "runs/s", process.drained,
        candidates=(
            C("celeriac", "celeriac", services=THREE, processes=1, fanout=3),
            C("Celery topic exchange", "celery_topic", services=THREE, processes=1, fanout=3),
            C("FastStream groups", "faststream", services=THREE, processes=1, fanout=3),
        ),
        goals=(
            Goal("to three services : Celery topic exchange", "celeriac", "Celery topic exchange",
                 minimum=10),
            Goal("to three services : FastStream", "celeriac", "FastStream groups", minimum=3),
        ),
    ),
    Measurement(
        "slow", "Handlers of 5 ms, two processes", "runs/s", process.against_perfect,
        candidates=(
            C("perfect", "nobody", options=WORK),
            C("celeriac", "celeriac", options=WORK),
            C("Celery, late ack", "celery", options=WORK, quick=False),
        ),
        goals=(Goal("5 ms handlers : perfect", "celeriac", "perfect", minimum=0.97),),
    ),
    Measurement(
        "latency", "Latency at 100 events/s", "p50 ms", latency.measured,
        candidates=(
            C("celeriac", "celeriac"),
            C("celeriac, -E", "celeriac", options=EVENTS, quick=False),
            C("Celery, late ack", "celery"),
            C("Celery, late ack, -E", "celery", options=EVENTS, quick=False),
            C("FastStream stream", "faststream", quick=False),
            C("dramatiq", "dramatiq", quick=False),
            C("taskiq stream", "taskiq", quick=False),
        ),
        goals=(
            Goal("latency p50 : Celery prefork", "celeriac", "Celery, late ack", maximum=0.5,
                 headline="Time from emit to handler at 100 events/s, against Celery (p50)"),
            Goal("latency p99 : Celery prefork", "celeriac", "Celery, late ack", maximum=0.7,
                 unit="p99 ms"),
            Goal("CPU for each event at 100/s : Celery prefork", "celeriac", "Celery, late ack",
                 maximum=0.7, unit="CPU ms/event"),
        ),
    ),
    Measurement(
        "backlog", "Redis memory of a backlogged event", "bytes/event", memory.backlogged,
        candidates=(
            C("raw stream", "raw", mode="bulk"),
            C("celeriac to 1", "celeriac", mode="bulk", options=subscribers(1)),
            C("celeriac to 10", "celeriac", mode="bulk", options=subscribers(10)),
            C("FastStream stream", "faststream", mode="fill"),
            C("taskiq stream", "taskiq", mode="fill", quick=False),
            C("dramatiq", "dramatiq", mode="fill", quick=False),
            C("Celery .delay × 1", "celery", mode="fill"),
        ),
        goals=(
            Goal("backlog of 1 subscriber : raw stream", "celeriac to 1", "raw stream",
                 maximum=1.15),
            Goal("backlog of 10 subscribers : raw stream", "celeriac to 10", "raw stream",
                 maximum=1.15),
        ),
        rounds=2,
    ),
    Measurement(
        "matrix", "Redis memory of a processed event, without the log", "bytes/run",
        memory.remembered,
        candidates=(
            C("celeriac", "celeriac"),
            C("celeriac, 3 handlers", "celeriac", options=subscribers(3), fanout=3),
        ),
        goals=(
            Goal("memory of a delivery, bytes", "celeriac", maximum=10,
                 headline="Bytes of Redis for the record of a delivery"),
        ),
        rounds=2,
    ),
    Measurement(
        "journal", "Append-only file growth for a processed event", "bytes/run", memory.journaled,
        candidates=(
            C("celeriac", "celeriac", durable=True),
            C("FastStream batch", "faststream", options=batch(500), durable=True),
            C("Celery, late ack", "celery", events=2000, durable=True, quick=False),
        ),
        goals=(Goal("AOF of a delivery, bytes", "celeriac", maximum=20),),
        rounds=2,
    ),
    Measurement(
        "idle", "Idle worker, two processes", "MiB", idle.rested,
        candidates=(
            C("celeriac", "celeriac"),
            C("Celery, late ack", "celery"),
            C("FastStream stream", "faststream", quick=False),
            C("dramatiq", "dramatiq", quick=False),
        ),
        goals=(
            Goal("memory of an idle worker : Celery's", "celeriac", "Celery, late ack",
                 maximum=1.1),
            Goal("CPU of an idle worker, % of a core", "celeriac", maximum=0.5, unit="% CPU"),
        ),
        rounds=2,
    ),
    Measurement(
        "busy", "Busy worker, two processes", "MiB", idle.laden,
        candidates=(
            C("celeriac", "celeriac", quick=False),
            C("Celery, late ack", "celery", events=2000, quick=False),
        ),
        rounds=2,
    ),
    Measurement(
        "explain", "Explain an event to three handlers, 1,000,000 events in the log", "ms",
        lookup.explained,
        candidates=(C("celeriac", "celeriac", events=1_000_000),),
        goals=(
            Goal("explain the oldest event, ms", "celeriac", maximum=50),
            Goal("explain an unknown id, ms", "celeriac", maximum=50, unit="unknown ms"),
        ),
        rounds=5,
    ),
    Measurement(
        "archive", "Archive in Parquet files, and replay from them", "replayed/s",
        archive.archived,
        candidates=(
            C("20,000 events", "celeriac", events=20_000),
            C("100,000 events", "celeriac", events=100_000),
        ),
        goals=(
            Goal("memory to archive, 100,000 : 20,000", "100,000 events", "20,000 events",
                 maximum=1.5, unit="archive MiB"),
            Goal("memory to replay, 100,000 : 20,000", "100,000 events", "20,000 events",
                 maximum=1.5, unit="replay MiB"),
        ),
        rounds=2,
    ),
    Measurement(
        "start", "Worker start to its first handled event", "s",
        startup.first_event,
        candidates=(C("celeriac", "celeriac"), C("Celery, late ack", "celery")),
        rounds=2,
    ),
    Measurement(
        "command", "Command line: --help", "s", startup.helped,
        candidates=(C("celeriac", "celeriac"), C("celery", "celery"), C("python", "python")),
    ),
    Measurement(
        "many-emit", "Emit, with 1,000 handlers and types", "events/s", emit.emitted,
        candidates=(SINGLE, MANY, SHARED),
        goals=(
            Goal("emit, 1,000 types in 100 domains : 1", MANY.name, SINGLE.name, minimum=0.83),
            Goal("emit, 1,000 types in one domain : 1", SHARED.name, SINGLE.name, minimum=0.83),
        ),
    ),
    Measurement(
        "many-process", "Processed, with 1,000 handlers and types", "runs/s", process.drained,
        candidates=tuple(replace(candidate, events=20_000) for candidate in (SINGLE, MANY, SHARED)),
        goals=(
            Goal("processed, 1,000 in 100 domains : 1", MANY.name, SINGLE.name, minimum=0.6),
        ),
        rounds=2,
    ),
    Measurement(
        "many-latency", "Latency at 100 events/s, with 1,000 handlers and types", "p50 ms",
        latency.measured,
        candidates=(SINGLE, MANY, SHARED),
        goals=(
            Goal("latency p50, 1,000 in 100 domains : 1", MANY.name, SINGLE.name, maximum=1.2),
            Goal("latency p50, 1,000 in one domain : 1", SHARED.name, SINGLE.name, maximum=1.2),
        ),
        rounds=2,
    ),
)
