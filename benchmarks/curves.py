"""How a figure changes with one quantity. Measured with --full only: it takes ten minutes."""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks import archive, emit, process
from benchmarks.measurement import Candidate, Goal, Measurement
from benchmarks.table import spread, subscribers

SIZES = (1, 1_000, 10_000, 100_000)


def celeriac(name: object, **settings: object) -> Candidate:
    return Candidate(str(name), "celeriac", **settings)  # type: ignore[arg-type]


def curve(
    name: str,
    title: str,
    candidates: Iterable[Candidate],
    *,
    emitted: bool = False,
    rounds: int = 2,
    goals: tuple[Goal, ...] = (),
) -> Measurement:
    unit, open = ("events/s", emit.emitted) if emitted else ("runs/s", process.drained)
    return Measurement(
        name, title, unit, open, candidates=tuple(candidates), goals=goals, rounds=rounds
    )


CURVES = (
    curve(
        "by-workers",
        "Processed, by number of workers with one process",
        (celeriac(n, workers=n, processes=1) for n in (1, 2, 3, 4)),
    ),
    curve(
        "by-handlers",
        "Processed, by number of handlers",
        (celeriac(n, options=subscribers(n), fanout=n) for n in (1, 3, 10, 30, 100)),
    ),
    curve(
        "by-backlog",
        "Processed, by size of the backlog",
        (celeriac(n, events=n) for n in (1_000, 10_000, 100_000, 1_000_000)),
        rounds=1,
        goals=tuple(
            Goal(
                f"server µs for each delivery, {n:,} in the backlog",
                str(n),
                maximum=1,
                unit="server µs/run",
            )
            for n in (1_000, 1_000_000)
        ),
    ),
    curve(
        "by-size",
        "Processed, by bytes added to the event",
        (celeriac(n, options={"BENCH_SIZE": str(n)}) for n in SIZES),
        goals=(
            # Four times the 1,698 a second of the first core, measured on a machine of this kind.
            Goal("processed, 100 kB bodies", "100000", minimum=6_792),
        ),
    ),
    curve(
        "by-size-emit",
        "Emitted, by bytes added to the event",
        (celeriac(n, options={"BENCH_SIZE": str(n)}) for n in SIZES),
        emitted=True,
    ),
    curve(
        "by-types",
        "Processed, by number of types: 20,000 events, ten types per domain",
        # as many at each point: of a second's work a thousand handlers would get a few events each
        (celeriac(n, events=20_000, options=spread(n, n // 10 or 1)) for n in (1, 10, 100, 1000)),
    ),
    Measurement(
        "by-archived",
        "Archive and replay, by number of events",
        "archived/s",
        archive.archived,
        candidates=tuple(
            celeriac(f"{n:,} events", events=n) for n in (100_000, 1_000_000, 10_000_000)
        ),
        goals=tuple(
            Goal(
                f"memory to {name}, 10,000,000 : 100,000",
                "10,000,000 events",
                "100,000 events",
                maximum=1.2,
                unit=f"{name} MiB",
            )
            for name in ("archive", "replay")
        ),
        rounds=1,
    ),
)
