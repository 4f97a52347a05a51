"""One row of the table: what a fault did to a system, counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from devtools.faults.harm import Harm, deaths, unexplained
from devtools.faults.store import Delivery, Run


@dataclass(frozen=True, slots=True)
class Tally:
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


def tally(
    expected: Collection[Delivery],
    failing: Collection[Delivery],
    dead: Collection[Delivery],
    left: Collection[Delivery],
    runs: Sequence[Run],
    effects: Counter[Delivery],
    harms: Sequence[Harm] = (),
) -> Tally:
    """Counts. `failing` are those of `expected` whose handler fails by design, `left` those that
    the system still holds, `harms` what the fault did to running work."""
    times = Counter(run.delivery for run in runs)
    expected, failing, dead = set(expected), set(failing), set(dead)
    return Tally(
        deliveries=len(expected),
        lost=len(expected - effects.keys() - dead - set(left)),
        dead=len(dead),
        effects_doubled=sum(effects.values()) - len(effects),
        executions_doubled=sum(n - 1 for one, n in times.items() if one not in failing),
        unexplained=unexplained(runs, [*harms, *deaths(runs, failing)], failing),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """A fault and what came of it. `failed` says which goal was missed, or why it is no proof.

    `heal` and `lease` are in seconds.
    """

    fault: str
    injected: int
    deliveries: int
    lost: int | None
    effects_doubled: int | None
    executions_doubled: int | None
    unexplained: int | None
    dead: int | None
    heal: float | None
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
