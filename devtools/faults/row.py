"""One row of the table: what a fault did to a system, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from devtools.faults.fault_window import FaultWindow, deaths, show_repetition, unexplained
from devtools.faults.store import Delivery, Run

SHOWN = 3  # unexplained repetitions


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the deliveries that were accepted.

    `lost`: neither an effect nor a dead letter, and not held by the system any more.
    `effects_doubled`: effects beyond one for an event and handler, where the handler guards its
    effect. `executions_doubled`: runs beyond one for an event and handler, retries after a failure
    of its own not counted; `unexplained`: those of them whose event was not under way in a
    process when that died.
    """

    deliveries: int = 0
    lost: int = 0
    dead: int = 0
    effects_doubled: int = 0
    executions_doubled: int = 0
    unexplained: int = 0
    shown: tuple[str, ...] = ()  # the first of them


def count(
    expected: Collection[Delivery],
    failing: Collection[Delivery],
    dead: Collection[Delivery],
    remaining: Collection[Delivery],
    runs: Sequence[Run],
    effects: Counter[Delivery],
    windows: Sequence[FaultWindow] = (),
) -> Counts:
    """Return the counts of a run.

    `failing` are the deliveries of `expected` whose handler fails by design, `remaining` the
    deliveries that the system still has, and `windows` the times in which the fault affected
    running work.
    """
    times = Counter(run.delivery for run in runs)
    expected, failing, dead = set(expected), set(failing), set(dead)
    windows = [*windows, *deaths(runs, failing)]
    repetitions = unexplained(runs, windows, failing)
    return Counts(
        deliveries=len(expected),
        lost=len(expected - effects.keys() - dead - set(remaining)),
        dead=len(dead),
        effects_doubled=sum(effects.values()) - len(effects),
        executions_doubled=sum(n - 1 for key, n in times.items() if key not in failing),
        unexplained=len(repetitions),
        shown=tuple(show_repetition(*pair, windows) for pair in repetitions[:SHOWN]),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """A fault and its result. `failed` is the goal that was missed, or why the run proves nothing.

    `recovery` and `lease` are in seconds.
    """

    fault: str
    injected: int
    deliveries: int
    lost: int | None
    effects_doubled: int | None
    executions_doubled: int | None
    unexplained: int | None
    dead: int | None
    recovery: float | None
    lease: float
    stock_deliveries: int | None
    stock_lost: int | None
    stock_doubled: int | None
    broker: str = "redis"
    server: str = ""
    works: str = ""
    note: str = ""
    failed: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        return not self.failed and self.lost == 0

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "ok": self.ok}
