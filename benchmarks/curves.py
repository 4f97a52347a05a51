"""How the figures change with one quantity; measured with --full only."""

from __future__ import annotations

from benchmarks import emit, process
from benchmarks.measurement import Contestant as C
from benchmarks.measurement import Measurement

WORKERS = Measurement(
    name="by-workers",
    title="Processed, by workers of one process each",
    open=process.drained,
    contestants=tuple(
        C(name=str(n), peer="celeriac", workers=n, processes=1) for n in (1, 2, 3, 4)
    ),
    full=True,
)

HANDLERS = Measurement(
    name="by-handlers",
    title="Processed, by handlers of an event",
    open=process.drained,
    contestants=tuple(
        C(name=str(n), peer="celeriac", options={"BENCH_HANDLERS": str(n)}, fanout=n)
        for n in (1, 3, 10, 30, 100)
    ),
    full=True,
)

BACKLOG = Measurement(
    name="by-backlog",
    title="Processed, by events in the backlog",
    open=process.drained,
    contestants=tuple(
        C(name=f"{n}", peer="celeriac", events=n) for n in (1_000, 10_000, 100_000, 1_000_000)
    ),
    full=True,
    rounds=2,
)

SIZE = Measurement(
    name="by-size",
    title="Processed, by bytes added to an event",
    open=process.drained,
    contestants=tuple(
        C(name=str(n), peer="celeriac", options={"BENCH_SIZE": str(n)})
        for n in (1, 1_000, 10_000, 100_000)
    ),
    full=True,
)

SIZE_EMIT = Measurement(
    name="by-size-emit",
    title="Emitted, by bytes added to an event",
    open=emit.emitted,
    contestants=tuple(
        C(name=str(n), peer="celeriac", options={"BENCH_SIZE": str(n)})
        for n in (1, 1_000, 10_000, 100_000)
    ),
    full=True,
)

TYPES = Measurement(
    name="by-types",
    title="Processed, by types with a handler each, ten to a domain",
    open=process.drained,
    contestants=tuple(
        C(
            name=str(n),
            peer="celeriac",
            options={
                "BENCH_HANDLERS": str(n),
                "BENCH_TYPES": str(n),
                "BENCH_DOMAINS": str(max(1, n // 10)),
            },
        )
        for n in (1, 10, 100, 1000)
    ),
    full=True,
)
